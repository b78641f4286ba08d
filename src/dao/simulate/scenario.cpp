#include "dao/simulate/scenario.h"

#include <algorithm>

namespace dao::simulate {

double Scenario::capacity() const {
  std::vector<double> speed(backends.size(), 1);
  for (const Fault& fault : faults) {
    if (fault.on + fault.off == Nanoseconds::zero() || fault.effect == Effect::fail) continue;
    const double share = static_cast<double>(fault.on.count()) / static_cast<double>((fault.on + fault.off).count());
    const double while_on = fault.effect == Effect::slow || fault.effect == Effect::cold ? 1 / fault.factor : 0;
    for (const std::size_t backend : fault.backends) speed[backend] *= 1 - share + share * while_on;
  }
  double total = 0;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    total += backends[i].slots / backends[i].service.mean_seconds * speed[i];
  }
  return total;
}

double Scenario::mean_rate() const {
  return arrivals.rate ? *arrivals.rate : *arrivals.load * capacity();
}

std::optional<Scenario::Sickness> Scenario::sickness() const {
  std::optional<Sickness> sickness;
  for (const Fault& fault : faults) {
    if (fault.random || fault.backends.size() == backends.size()) continue;
    if (!sickness) {
      sickness = Sickness{.backends = std::vector<bool>(backends.size()), .from = fault.from, .to = fault.to};
    }
    sickness->from = std::min(sickness->from, fault.from);
    sickness->to = sickness->to && fault.to ? std::optional(std::max(*sickness->to, *fault.to)) : std::nullopt;
    for (const std::size_t backend : fault.backends) sickness->backends[backend] = true;
  }
  return sickness;
}

}  // namespace dao::simulate
