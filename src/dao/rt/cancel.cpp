#include "dao/rt/cancel.h"

namespace dao::rt {

Cancel::Cancel(Cancel* parent) : Cancel() {
  if (parent == nullptr) return;
  if (parent->requested()) {
    why_ = parent->why();
    return;
  }
  link_.child = this;
  link_.cancelled = [](Hook& self, ErrorKind why) { static_cast<ParentLink&>(self).child->request(why); };
  parent->add(link_);
}

void Cancel::request(ErrorKind why) {
  if (requested()) return;
  why_ = why;
  while (hooks_.next != &hooks_) {
    Hook& hook = *hooks_.next;
    hook.unlink();
    hook.cancelled(hook, why);
  }
}

}  // namespace dao::rt
