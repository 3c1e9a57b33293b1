// SPDX-License-Identifier: BSD-3-Clause
//
// dir: what a data directory needs of the file system, each function whole: it does all of it or
// says in words what failed, on which file and why. Plain calls of libc, for threads that may wait.
//
// Atomic means: after a power cut at any moment the old content is there or the new. That takes a
// temporary name beside the file, fsync, rename, and fsync of the directory.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define DIR_TEMPORARY ".tmp" // at the end of the name of what is not yet in its place

// What went wrong, for the log and for people. A function that returns true does not touch it.
struct dir_error {
    int code;        // errno; 0: the file could be read but what it says is wrong
    char text[1024]; // one line: "cannot write '/data/x.log': No space left on device"
};

void dir_fail(struct dir_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
// "cannot DOING 'path': reason of `code`". Returns false, for "return dir_fail_errno(...)".
bool dir_fail_errno(struct dir_error *e, int code, const char *doing, const char *path);

// "dir/name"; owned by the caller (mem_free). dir is not "".
char *dir_join(const char *dir, const char *name);

// Makes the directory if it is not there (its parent must be) and syncs the parent.
bool dir_make(const char *dir, struct dir_error *e);
// Keeps the directory for this process, until it ends or closes the descriptor that is returned:
// nobody else gets it meanwhile. -1: it cannot be opened, or another has it (code EWOULDBLOCK). A
// file system that has no locks lets everybody have it.
int dir_hold(const char *dir, struct dir_error *e);
// Makes durable which names are in the directory.
bool dir_sync(const char *dir, struct dir_error *e);

// Writes all bytes at the descriptor's position; `path` is for the error.
bool dir_write_all(int fd, const char *path, const void *bytes, size_t len, struct dir_error *e);
// The file `name` has this content from now on, atomically.
bool dir_write_file(const char *dir, const char *name, struct slice bytes, struct dir_error *e);
// Gives the (already synced) file its name, in place of what had it, durably.
bool dir_rename(const char *dir, const char *from, const char *to, struct dir_error *e);
// Appends the file's content; more than `max` bytes is an error. A missing file: code ENOENT.
bool dir_read_file(const char *path, size_t max, struct buf *out, struct dir_error *e);
// A durable copy. Fails if `to` exists.
bool dir_copy_file(const char *from, const char *to, struct dir_error *e);
// Makes the file so short, durably.
bool dir_cut_file(const char *path, uint64_t bytes, struct dir_error *e);
// What stands in the file is durable, whoever wrote it.
bool dir_sync_file(const char *path, struct dir_error *e);
// A file that is not there is fine. Not synced: dir_sync.
bool dir_remove(const char *dir, const char *name, struct dir_error *e);
