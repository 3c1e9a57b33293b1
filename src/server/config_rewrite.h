// SPDX-License-Identifier: BSD-3-Clause
//
// config_rewrite: CONFIG REWRITE. Its functions, config_rewrite and config_rewrite_text, are
// declared in server/config.h.
#pragma once
#include "server/config.h"
