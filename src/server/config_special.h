// SPDX-License-Identifier: BSD-3-Clause
//
// config_special: the directives whose values are more than one scalar.
#pragma once
#include "server/config_table.h"

extern const struct special special_bind, special_dir, special_notify, special_output_limits;
extern const struct special special_percentiles, special_save, special_stop_flags;
extern const struct special special_oom_values, special_replicaof;
