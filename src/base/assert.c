// SPDX-License-Identifier: BSD-3-Clause
#include "base/assert.h"

#include <stdlib.h>

#include "base/log.h"

void assert_failed(const char *condition, const char *file, int line)
{
    log_write(LOG_WARNING, "=== ASSERTION FAILED === %s:%d '%s' is not true", file, line,
              condition);
    abort();
}
