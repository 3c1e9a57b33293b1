// SPDX-License-Identifier: BSD-3-Clause
//
// proof: is it certain, before a script runs, that it touches no key but those in its KEYS? Then it
// stops only the shards of its declared keys; else it stops all. A script that publishes stops all,
// too, as the order of a connection's messages is no matter of keys. A wrong no costs time, a wrong
// yes the isolation of somebody's transaction: any doubt is a no.
//
// It relies on the sandbox: globals cannot be assigned, a script sees no other script's values, and
// redis.call refuses arguments that are neither strings nor numbers.
#pragma once
#include <stdbool.h>

#include "base/slice.h"
#include "engine/command.h"

// `source` as EVAL got it, a first line "#!lua ..." included; any bytes. Takes time proportional to
// its length. Any thread.
bool proof_stays_on_keys(const struct command_table *table, struct slice source);
