// SPDX-License-Identifier: BSD-3-Clause
#include "store/log_chain.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log_maker.h"

#define SHARDS 3

static const char run[] = "0123456789abcdef0123456789abcdef01234567";

// The log of a shard with these transactions, "txid:shards" separated by spaces, each a frame.
static struct log_file log_with(uint32_t shard, const char *transactions)
{
    struct log_header h = {.shard = shard, .shard_count = SHARDS, .epoch = 3, .first_seq = 10};
    struct log_maker m;
    struct log_file f;
    struct dir_error e;
    char path[64], shards[8];
    unsigned txid;
    int fd, used;
    log_maker_begin(&m, h);
    for (const char *at = transactions; sscanf(at, "%u:%7[0-9]%n", &txid, shards, &used) == 2;
         at += used + (at[used] == ' ')) {
        log_maker_transaction(&m, txid, shards, "e");
        log_maker_local(&m, "local");
        log_maker_frame(&m, 0);
    }
    log_maker_file(buf_slice(&m.bytes), &fd, path);
    cr_assert(log_file_open(&f, path, NULL, &e), "%s", e.text);
    cr_assert(log_file_scan(&f, NULL, &e));
    close(fd);
    log_maker_free(&m);
    return f;
}

static bool check(const char *a, const char *b, const char *c, struct log_chain_count *count,
                  struct dir_error *e)
{
    struct log_file files[SHARDS] = {log_with(0, a), log_with(1, b), log_with(2, c)};
    bool is_good = log_chain_check_transactions(files, SHARDS, count, e);
    for (int i = 0; i < SHARDS; i++) log_file_close(&files[i]);
    return is_good;
}

Test(log_chain, transactions_that_are_everywhere_or_behind_an_end_are_good)
{
    struct log_chain_count count;
    struct dir_error e;
    cr_assert(check("1:01 2:02 5:012", "1:01 3:12 5:012", "2:02 3:12 5:012", &count, &e), "%s",
              e.text);
    cr_assert(count.transactions == 4 && count.incomplete == 0);
    cr_assert(check("1:01 2:02", "1:01 3:12 5:012", "", &count, &e), "%s", e.text);
    cr_assert(count.transactions == 4 && count.incomplete == 3);
    cr_assert(check("", "", "", &count, &e));
    cr_assert_eq(count.transactions, 0);
}

Test(log_chain, a_transaction_missing_in_the_middle_is_found)
{
    struct log_chain_count count;
    struct dir_error e;
    cr_assert_not(check("1:01 2:02 5:012", "1:01 5:012", "5:012", &count, &e));
    cr_assert(strstr(e.text, "transaction 2 is missing"), "%s", e.text);
}

Test(log_chain, a_transaction_that_differs_is_found)
{
    struct log_chain_count count;
    struct dir_error e;
    cr_assert_not(check("1:01 5:01", "1:01 5:012", "", &count, &e));
    cr_assert(strstr(e.text, "transaction 5") && strstr(e.text, "not the same"), "%s", e.text);
}

Test(log_chain, a_log_must_be_as_it_was_closed)
{
    struct log_file f = log_with(0, "1:01 2:02"); // four units
    struct manifest_log log = {.first_seq = 10};
    struct dir_error e;
    cr_assert(log_chain_fits(&f, &log, false, &e));
    log.is_closed = true;
    log.end_seq = 14;
    log.bytes = f.bytes;
    cr_assert(log_chain_fits(&f, &log, false, &e));
    log.end_seq = 15;
    cr_assert_not(log_chain_fits(&f, &log, false, &e));
    cr_assert(strstr(e.text, "seq 14") && strstr(e.text, "seq 15"), "%s", e.text);
    log.end_seq = 14;
    log.bytes++;
    cr_assert_not(log_chain_fits(&f, &log, true, &e));
    log.is_closed = false;
    f.scan.end = LOG_END_TORN;
    f.scan.reason = "why";
    cr_assert(log_chain_fits(&f, &log, true, &e));
    cr_assert_not(log_chain_fits(&f, &log, false, &e), "a torn log in front of others");
    f.scan.end = LOG_END_DAMAGED;
    cr_assert_not(log_chain_fits(&f, &log, true, &e));
    log_file_close(&f);
}

Test(log_chain, an_epoch_of_the_same_run_goes_on_where_the_last_one_ended)
{
    struct log_file files[SHARDS] = {log_with(0, "1:01"), log_with(1, "1:01"), log_with(2, "")};
    struct manifest m = {0};
    struct dir_error e;
    manifest_add_epoch(&m, 3, SHARDS, run);
    manifest_add_epoch(&m, 4, SHARDS, run);
    struct manifest_epoch *before = &m.epochs[0], *next = &m.epochs[1];
    next->logs[0].first_seq = next->logs[1].first_seq = 12;
    next->logs[2].first_seq = 10;
    cr_assert(log_chain_follows(before, files, next, &e), "%s", e.text);
    next->logs[2].first_seq = 11;
    cr_assert_not(log_chain_follows(before, files, next, &e));
    cr_assert(strstr(e.text, "seq 10") && strstr(e.text, "gyre-4-2.log"), "%s", e.text);
    next->run[0] = 'f'; // another run: nobody knows
    cr_assert(log_chain_follows(before, files, next, &e));
    manifest_clear(&m);
    for (int i = 0; i < SHARDS; i++) log_file_close(&files[i]);
}
