// Starting a helper thread that no signal is delivered to: threads inherit the mask of their creator.
//   const SignalsBlocked quiet;
//   thread_ = std::thread(...);
// In such a thread a write to a broken pipe fails with EPIPE and raises nothing.
#pragma once

#include <csignal>

namespace dao {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace dao
