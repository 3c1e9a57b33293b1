// SPDX-License-Identifier: BSD-3-Clause
//
// log: the server's log, one line an event, in the form Redis users know:
//     PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL message
// Any thread may write; a line goes out in one write(2).
#pragma once

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

// path: file to append to (opened anew for every line, so that logrotate works), "" for standard
// output. Copied.
void log_open(const char *path);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A descriptor for the crash handler: the log file or standard output; the caller closes it unless
// it is 1.
int log_raw_fd(void);
