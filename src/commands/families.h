// SPDX-License-Identifier: BSD-3-Clause
//
// families: every family of commands, each an array at the foot of its own file that ends with a
// NULL name. table.c lists them; this header has no .c of its own because each array lives with its
// handlers.
#pragma once
#include "engine/command.h"

extern const struct command commands_string[];
extern const struct command commands_transaction[];
extern const struct command commands_lcs[];
extern const struct command commands_list[];
extern const struct command commands_list_block[];
extern const struct command commands_set[];
extern const struct command commands_set_algebra[];
extern const struct command commands_hash[];
extern const struct command commands_hash_expire[];
extern const struct command commands_bitmap[];
extern const struct command commands_bitfield[];
extern const struct command commands_hyperloglog[];
extern const struct command commands_zset[];
extern const struct command commands_zset_range[];
extern const struct command commands_zset_algebra[];
extern const struct command commands_zset_block[];
extern const struct command commands_geo[];
extern const struct command commands_geo_search[];
extern const struct command commands_stream[];
extern const struct command commands_stream_read[];
extern const struct command commands_stream_group[];
extern const struct command commands_stream_pending[];
extern const struct command commands_stream_info[];
extern const struct command commands_keys[];
extern const struct command commands_expire[];
extern const struct command commands_scan[];
extern const struct command commands_dump[];
extern const struct command commands_sort[];
extern const struct command commands_wait[];
extern const struct command commands_object[];
extern const struct command commands_pubsub[];
extern const struct command commands_connection[];
extern const struct command commands_client[];
extern const struct command commands_command[];
extern const struct command commands_config[];
extern const struct command commands_info[];
extern const struct command commands_debug[];
extern const struct command commands_slowlog[];
extern const struct command commands_latency[];
extern const struct command commands_memory[];
extern const struct command commands_persistence[];
extern const struct command commands_server[];
extern const struct command commands_script[];
extern const struct command commands_function[];

// All of the above, NULL-terminated; what command_table_new takes. In table.c.
extern const struct command *const commands_all[];
