// SPDX-License-Identifier: BSD-3-Clause
//
// pidfile: the file that says which process serves, from its start to its end in order. It is
// written and removed while the server has its ports: at any time it is one server's.
#pragma once
#include "engine/settings.h"

// If the settings want one. That it cannot be written is logged.
void pidfile_write(const struct settings *s);
void pidfile_remove(const struct settings *s);
