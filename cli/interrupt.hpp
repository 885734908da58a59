// Ctrl-C and SIGTERM as a request to come to an end, instead of a death: whoever works finishes what it has taken in.
//   Interrupt interrupt{Interrupt::Output::watched};       // before any other thread is started
//   while (!interrupt.requested()) ...                     // or wait on token() or descriptor()
// Watched, it is also requested when nobody reads our standard output any more, so that `consume t | head -1` ends. A
// second signal ends the process at once. A signal that was ignored when we were started stays ignored (nohup).
#pragma once

#include <stop_token>
#include <thread>

namespace towpath::cli {

class Interrupt {
 public:
  enum class Output { watched, unwatched };

  explicit Interrupt(Output output);
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt();

  [[nodiscard]] bool requested() const noexcept { return source_.stop_requested(); }
  /// Requested by a signal, not by a reader that went away.
  [[nodiscard]] bool by_signal() const noexcept { return by_signal_.stop_requested(); }
  [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }
  /// Readable from the request on, for poll(2).
  [[nodiscard]] int descriptor() const noexcept { return requested_fd_; }

 private:
  void watch(bool output);
  void request();

  std::stop_source source_;
  std::stop_source by_signal_;
  int signals_fd_ = -1;
  int requested_fd_ = -1;
  int end_fd_ = -1;
  std::thread thread_;
};

}  // namespace towpath::cli
