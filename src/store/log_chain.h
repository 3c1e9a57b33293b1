// SPDX-License-Identifier: BSD-3-Clause
//
// log_chain: what must hold between the logs of a directory and its manifest, and among them:
//
//   - a log is as its manifest says, and whole unless it is of the last epoch;
//   - within a run of the server, an epoch begins with the seq at which the one before ended;
//   - a transaction is the same in every log that has it; a log that should have it and does not
//     ends before it (recovery leaves out the transaction and all behind it).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "store/log_file.h"
#include "store/manifest.h"

// Is the scanned log what the manifest says? A torn tail is fine if the epoch is_last; the caller
// decides what to do about it. *e names the file and says what to do.
bool log_chain_fits(const struct log_file *f, const struct manifest_log *log, bool is_last,
                    struct dir_error *e);

// Does `epoch` begin where the one before it ended? logs_before: by shard.
bool log_chain_follows(const struct manifest_epoch *before, const struct log_file *logs_before,
                       const struct manifest_epoch *epoch, struct dir_error *e);

struct log_chain_count {
    uint64_t transactions; // different ones
    uint64_t incomplete;   // that some log lacks at its end
};
// Reads all transactions of an epoch's logs side by side. False: one is missing in the middle of a
// log, or is not the same everywhere.
bool log_chain_check_transactions(const struct log_file *logs, uint32_t count,
                                  struct log_chain_count *out, struct dir_error *e);
