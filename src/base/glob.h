// SPDX-License-Identifier: BSD-3-Clause
//
// glob: Redis's glob-style patterns: * ? [abc] [^a-z] and \ to quote. As in Redis, the empty text
// matches only the empty pattern: where a lone * means "all, the empty one too" (KEYS, SCAN), the
// caller looks for it.
#pragma once
#include <stdbool.h>

#include "base/slice.h"

bool glob_match(struct slice pattern, struct slice text);
// ASCII letters match in either case.
bool glob_match_nocase(struct slice pattern, struct slice text);
