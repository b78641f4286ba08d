// What came out of a simulation with one policy. Only requests that arrived after the warm-up count.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dao::simulate {

struct Figures {
  double requests = 0;
  double p50_ms = 0;
  double p90_ms = 0;
  double p99_ms = 0;
  double p999_ms = 0;
  double mean_ms = 0;
  double max_ms = 0;
  double settled_p99_ms = 0;
  double over_10x_mean = 0;
  double errors = 0;
  double error_share = 0;
  double retries = 0;
  double retries_denied = 0;
  double least_share = 0;
  double largest_share = 0;
  double deviation = 0;
  double sick_share_before = 0;
  double sick_share_after = 0;
  double spread_cv = 0;
  double spread_max = 0;
  double spread_worst = 0;
  double swing = 0;
  double deepest = 0;
  std::vector<double> shares{};  // by backend: share of the attempts
};

struct FigureName {
  std::string_view name;
  double Figures::* value;
  std::string_view doc;
};

// All of them, in the order of the JSON output.
inline constexpr std::array kFigureNames = {
    FigureName{"requests", &Figures::requests, "requests that arrived after the warm-up"},
    FigureName{"p50_ms", &Figures::p50_ms, "median of the latency, from arrival to answer or error, retries included"},
    FigureName{"p90_ms", &Figures::p90_ms, "90th percentile of it"},
    FigureName{"p99_ms", &Figures::p99_ms, "99th percentile"},
    FigureName{"p999_ms", &Figures::p999_ms, "99.9th percentile"},
    FigureName{"mean_ms", &Figures::mean_ms, "mean latency"},
    FigureName{"max_ms", &Figures::max_ms, "largest latency"},
    FigureName{"settled_p99_ms", &Figures::settled_p99_ms,
               "99th percentile of the requests that arrived 2 s or more after a fault began on some of the backends"},
    FigureName{"over_10x_mean", &Figures::over_10x_mean,
               "requests slower than ten times the mean service time of the backends"},
    FigureName{"errors", &Figures::errors, "requests that ended without an answer below 500"},
    FigureName{"error_share", &Figures::error_share, "the same, as a share of the requests"},
    FigureName{"retries", &Figures::retries, "attempts after a first one"},
    FigureName{"retries_denied", &Figures::retries_denied, "retries that the budget did not allow"},
    FigureName{"least_share", &Figures::least_share, "share of the attempts that went to the backend with the fewest"},
    FigureName{"largest_share", &Figures::largest_share, "share of the one with the most"},
    FigureName{"deviation", &Figures::deviation,
               "largest distance of a backend's share from its share of the slots per mean service time, over the "
               "latter"},
    FigureName{"sick_share_before", &Figures::sick_share_before,
               "share of the attempts that went to the faulty backends before the fault began"},
    FigureName{"sick_share_after", &Figures::sick_share_after, "the same from 2 s after its beginning to its end"},
    FigureName{"spread_cv", &Figures::spread_cv,
               "coefficient of variation, over the backends, of their attempts in one second, for their fair share; "
               "mean of the seconds"},
    FigureName{"spread_max", &Figures::spread_max,
               "most attempts in one second of a backend, for its fair share, over the mean of the backends; mean of "
               "the seconds"},
    FigureName{"spread_worst", &Figures::spread_worst, "the same, of the worst second"},
    FigureName{"swing", &Figures::swing,
               "coefficient of variation, over the seconds, of a backend's share of the attempts; mean of the "
               "backends"},
    FigureName{"deepest", &Figures::deepest, "most requests that a backend had at once, in service and waiting"},
};

// One policy's run.
struct Run {
  std::string policy;
  Figures figures;
  double virtual_seconds = 0;
  std::uint64_t simulated = 0;  // requests, warm-up included
  double wall_seconds = 0;      // the only thing here that differs from run to run
};

}  // namespace dao::simulate
