// SPDX-License-Identifier: BSD-3-Clause
//
// version: what HELLO, INFO and LOLWUT say. Clients switch features on and off by redis_version, so
// it names the Redis whose behaviour this server has.
#pragma once

#define GYRE_VERSION  "0.1.0"
#define REDIS_VERSION "7.4.2"
