// Cancellation that reaches a suspended operation. A Cancel belongs to whatever may be called off (a connection, an
// exchange, one leg of a race); every wait names the Cancel it obeys and wakes at once when it is requested.
// One thread (that of its loop).
#pragma once

#include "dao/base/error.h"

namespace dao::rt {

class Cancel {
 public:
  // An intrusive link from a suspended wait, or from a child Cancel.
  struct Hook {
    Hook* next = nullptr;
    Hook* prev = nullptr;
    void (*cancelled)(Hook& self, ErrorKind why) = nullptr;
    [[nodiscard]] bool linked() const { return next != nullptr; }
    void unlink() {
      if (next == nullptr) return;
      prev->next = next;
      next->prev = prev;
      next = prev = nullptr;
    }
  };

  Cancel() { hooks_.next = hooks_.prev = &hooks_; }
  // A child is requested when its parent is; the parent outlives it. A null parent is none.
  explicit Cancel(Cancel* parent);
  Cancel(const Cancel&) = delete;
  Cancel& operator=(const Cancel&) = delete;
  ~Cancel() { link_.unlink(); }

  // Wakes everything that waits under this Cancel. The first reason stays.
  void request(ErrorKind why = ErrorKind::cancelled);
  [[nodiscard]] bool requested() const { return why_ != ErrorKind::none; }
  [[nodiscard]] ErrorKind why() const { return why_; }

  void add(Hook& hook) {
    hook.prev = hooks_.prev;
    hook.next = &hooks_;
    hooks_.prev->next = &hook;
    hooks_.prev = &hook;
  }

 private:
  struct ParentLink : Hook {
    Cancel* child = nullptr;
  };
  Hook hooks_;
  ParentLink link_;
  ErrorKind why_ = ErrorKind::none;
};

}  // namespace dao::rt
