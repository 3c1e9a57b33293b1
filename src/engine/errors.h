// SPDX-License-Identifier: BSD-3-Clause
//
// errors: every error text that more than one place answers, byte for byte what Redis answers.
#pragma once

#define ERR_SYNTAX           "ERR syntax error"
#define ERR_NOT_INTEGER      "ERR value is not an integer or out of range"
#define ERR_NOT_FLOAT        "ERR value is not a valid float"
#define ERR_NO_SUCH_KEY      "ERR no such key"
#define ERR_DB_RANGE         "ERR DB index is out of range"
#define ERR_WRONGTYPE        "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_OVERFLOW         "ERR increment or decrement would overflow"
#define ERR_STRING_TOO_LONG  "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
#define ERR_OFFSET_RANGE     "ERR offset is out of range"
#define ERR_POSITIVE         "ERR value is out of range, must be positive"
#define ERR_NOAUTH           "NOAUTH Authentication required."
#define ERR_WRONGPASS        "WRONGPASS invalid username-password pair or user is disabled."
#define ERR_NOPROTO          "NOPROTO unsupported protocol version"
#define ERR_OOM              "OOM command not allowed when used memory > 'maxmemory'."
#define ERR_SAME_OBJECT      "ERR source and destination objects are the same"
#define ERR_INVALID_CURSOR   "ERR invalid cursor"
#define ERR_TIMEOUT_RANGE    "ERR timeout is out of range"
#define ERR_READ_ONLY_SCRIPT "ERR Write commands are not allowed from read-only scripts."
#define ERR_TIMEOUT_NEG      "ERR timeout is negative"
#define ERR_SHUTDOWN         "ERR Errors trying to SHUTDOWN. Check logs."

// %s: the command's full name
#define ERR_SUBSCRIBER                                                                             \
    "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "    \
    "allowed in this context"

#define ERR_SSUBSCRIBE  "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"
#define ERR_MONITOR     "ERR Replica can't interact with the keyspace" // so Redis sees a monitor
#define ERR_UNBLOCKED   "UNBLOCKED client unblocked via CLIENT UNBLOCK"
#define ERR_CLIENT_NAME "ERR Client names cannot contain spaces, newlines or special characters."

#define ERR_LOADING "LOADING Redis is loading the dataset in memory"
#define ERR_MISCONF_SNAPSHOT                                                                       \
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to "  \
    "disk. Commands that may modify the data set are disabled, because this instance is "          \
    "configured to report errors during writes if RDB snapshotting fails "                         \
    "(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB " \
    "error."
#define ERR_MISCONF_LOG "MISCONF Errors writing to the AOF file: " // and the reason

#define ERR_EXEC_ABORTED "EXECABORT Transaction discarded because of: " // and the reason

#define ERR_NOT_BUSY "NOTBUSY No scripts in execution right now."
#define ERR_UNKILLABLE                                                                             \
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can "    \
    "either wait the script termination or kill the server in a hard way using the SHUTDOWN "      \
    "NOSAVE command."
#define ERR_BUSY_SCRIPT                                                                            \
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
#define ERR_BUSY_FUNCTION                                                                          \
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
