// SPDX-License-Identifier: BSD-3-Clause
//
// table: the families that make up Gyre's command table. Data families first, so that the commands
// that are called most have small ids and their statistics lie close together; COMMAND LIST shows
// this order.
#include "commands/families.h"

#include <stddef.h>

const struct command *const commands_all[] = {
    commands_string,
    commands_transaction,
    commands_lcs,
    commands_list,
    commands_list_block,
    commands_set,
    commands_set_algebra,
    commands_hash,
    commands_hash_expire,
    commands_bitmap,
    commands_bitfield,
    commands_zset,
    commands_zset_range,
    commands_zset_algebra,
    commands_zset_block,
    commands_geo,
    commands_geo_search,
    commands_hyperloglog,
    commands_stream,
    commands_stream_read,
    commands_stream_group,
    commands_stream_pending,
    commands_stream_info,
    commands_keys,
    commands_expire,
    commands_scan,
    commands_dump,
    commands_sort,
    commands_wait,
    commands_object,
    commands_pubsub,
    commands_connection,
    commands_client,
    commands_command,
    commands_config,
    commands_info,
    commands_debug,
    commands_slowlog,
    commands_latency,
    commands_memory,
    commands_persistence,
    commands_server,
    commands_script,
    commands_function,
    NULL,
};
