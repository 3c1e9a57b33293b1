// SPDX-License-Identifier: BSD-3-Clause
//
// tracking: the subcommands of CLIENT about client-side caching (engine/tracking.h), for client.c's
// table.
#pragma once
#include "engine/ctx.h"

// CLIENT TRACKING is SPAN_SESSION: this is what each shard does,
void client_tracking(struct ctx *ctx);
// and this what the home shard does in the end.
void client_tracking_conclude(struct ctx *ctx);
void client_caching(struct ctx *ctx);
void client_getredir(struct ctx *ctx);
void client_trackinginfo(struct ctx *ctx);
