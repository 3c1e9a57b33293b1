// SPDX-License-Identifier: BSD-3-Clause
//
// log_format: the bytes of a log file, written and read; no files here. All integers little endian.
//
//   file     header (64 bytes), frames, then nothing or zeros (space reserved ahead)
//   header    0 magic "GYRELOG1"       8 version u32     12 shard u32     16 shard count u32
//            20 zero u32              24 epoch u64       32 first seq u64 40 salt u64
//            48 zeros                 60 CRC-32C of bytes 0 .. 59
//   frame     0 CRC-32C u32            4 unit count u32   8 payload bytes u64
//            16 first seq u64         24 durable seq u64 32 payload: units, one behind the other
//   unit     byte 1, length (varint), effects                                         (local)
//            byte 2, txid (varint), number of groups (varint),
//            and for each group: shard (varint), length (varint), effects             (transaction)
//
// A frame is what one tick committed. Its checksum covers everything behind it, payload included,
// and begins with the header's checksum, so that a frame is valid in its own file only: what a file
// system brings back of a deleted log after a power cut is no frame here (that is what the salt is
// for). Unit n of a frame has the seq "first seq + n"; seqs have no gaps within a file.
// Durable seq: when the frame was written, all units below that seq were known to be synced; never
// more than the frame's first seq. A frame without units says just that (when all is synced and the
// log is closed, or nothing more comes for a while). A local unit without effects is fine: a seq
// that was reserved and never used.
//
// Decoding trusts nothing and allocates nothing; what it returns points into the bytes it is given.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/slice.h"

#define LOG_HEADER_BYTES 64
#define LOG_FRAME_BYTES  32 // in front of the payload
#define LOG_VERSION      1

// --- the file's header ---------------------------------------------------------------------------

struct log_header {
    uint32_t version; // set by encoding
    uint32_t shard, shard_count;
    uint64_t epoch;
    uint64_t first_seq; // of the first unit, when there is one
    uint64_t salt;      // new for every run of the server: manifest_salt
    uint32_t crc;       // set by encoding and decoding: what every frame's checksum begins with
};

void log_header_encode(struct log_header *h, char out[LOG_HEADER_BYTES]);
// NULL, or what is wrong with it (a text that stays).
const char *log_header_decode(struct slice file, struct log_header *h);

// --- frames --------------------------------------------------------------------------------------

struct log_frame {
    uint32_t crc;        // set by encoding
    uint32_t unit_count; // 0 only if there is no payload
    uint64_t payload_bytes;
    uint64_t first_seq;
    uint64_t durable_seq;
};

// The bytes in front of a payload that lies in `count` pieces (payload_bytes is set to their sum):
// written as one with them they are a frame. `seed`: the header's crc.
void log_frame_encode(struct log_frame *f, uint32_t seed, const struct iovec *payload, int count,
                      char out[LOG_FRAME_BYTES]);

// The frame at the beginning of `in`, whole and with the right checksum. NULL, or what is wrong (a
// text that stays); `f` has the fields as they stand there if they are there at all.
const char *log_frame_decode(struct slice in, uint32_t seed, struct log_frame *f,
                             struct slice *payload);

// Could this be a frame, but for its checksum? `f` gets the fields if there are so many bytes.
bool log_frame_is_plausible(struct slice in, struct log_frame *f);

// --- units ---------------------------------------------------------------------------------------

enum log_kind { LOG_LOCAL = 1, LOG_TRANSACTION = 2 };

// What stands in front of a local unit's effects.
void log_put_local(struct buf *out, size_t effects_bytes);
// A transaction: this, and then for each of its groups log_put_group and the group's effects. Each
// shard has one group at most. txid > 0.
void log_put_transaction(struct buf *out, uint64_t txid, uint32_t group_count);
void log_put_group(struct buf *out, uint32_t shard, size_t effects_bytes);

struct log_unit {
    enum log_kind kind;
    struct slice effects; // local: engine/effect.h reads them
    uint64_t txid;        // transaction
    uint32_t group_count;
    struct slice groups;
};

// Takes the next unit off `left`, groups checked. False at the end (left is empty), or if what is
// left is none (it is not).
bool log_unit_next(struct slice *left, struct log_unit *unit);
// Takes the next group off a unit's groups. False at the end.
bool log_group_next(struct slice *groups, uint32_t *shard, struct slice *effects);
// The effects of a shard's group. False if the transaction has none for it.
bool log_unit_group(const struct log_unit *unit, uint32_t shard, struct slice *effects);
