// SPDX-License-Identifier: BSD-3-Clause
//
// config_file: reads lines of configuration, from files and from the command line, into a config.
#pragma once
#include "server/config.h"

#define CONFIG_FILE_MAX_BYTES (16u << 20) // a configuration file is not bigger: this is not one

// Reads a whole file; false with errno (EFBIG past the maximum). "-" is standard input.
bool config_file_read(const char *path, struct buf *out);
// Applies every line. `name`: the file, NULL: the command line. False with the message in `error`.
bool config_file_apply(struct config *c, const char *name, struct slice text, struct buf *error);
