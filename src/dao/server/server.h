// The process: opens what the configuration names, runs the workers and side threads, obeys signals, drains and ends.
#pragma once

#include "dao/config/load.h"
#include "dao/server/operations.h"

namespace dao::server {

// Runs until a signal ends it. Returns the exit status: 0 after a drain, 1 when it cannot start (the reason is logged).
// SIGTERM, SIGINT: drain; a second one ends the process at once. SIGHUP: load the configuration file again. SIGUSR1:
// reopen the access log. SIGUSR2: start the program anew with the same sockets, and drain when the new process is
// ready. To be called once, from the main thread, before any other thread exists. `file`: what the configuration file
// says, without errors. `admin`: makes the admin API if the configuration has one; outlives the call.
int run(config::LoadAttempt file, AdminFactory& admin);

}  // namespace dao::server
