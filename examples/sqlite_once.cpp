// Exactly once into a database: the offset is stored in the transaction that stores the data, so that both are there or
// neither. The process that does it is killed in the middle of a transaction and started again.
#include <fmt/core.h>
#include <sqlite3.h>

#include <csignal>
#include <memory>

#include <towpath/towpath.hpp>

#include "processes.hpp"

using namespace std::chrono_literals;
using Database = std::unique_ptr<sqlite3, decltype(&sqlite3_close)>;

/// The number in the last row's first column; 0 when there is none.
std::int64_t run(sqlite3* database, const std::string& sql) {
  std::int64_t number = 0;
  const auto keep = [](void* to, int, char** columns, char**) {
    return *static_cast<std::int64_t*>(to) = columns[0] ? std::strtoll(columns[0], nullptr, 10) : 0, 0;
  };
  char* complaint = nullptr;
  if (sqlite3_exec(database, sql.c_str(), keep, &number, &complaint) == SQLITE_OK) return number;
  const std::unique_ptr<char, decltype(&sqlite3_free)> owned{complaint, &sqlite3_free};
  throw std::runtime_error{complaint ? complaint : "sqlite3_exec failed"};
}

Database open_ledger(const std::string& folder) {
  sqlite3* raw = nullptr;
  const int opened = sqlite3_open((folder + "/ledger.db").c_str(), &raw);
  Database database{raw, &sqlite3_close};
  if (opened != SQLITE_OK) throw std::runtime_error{sqlite3_errmsg(raw)};
  run(raw,
      "CREATE TABLE IF NOT EXISTS entries (amount INTEGER);"
      "CREATE TABLE IF NOT EXISTS progress (next_offset INTEGER)");
  return database;
}

/// Writes the payments into the ledger, three in a transaction, and is killed before the commit of the second one.
void book(const std::string& folder, bool is_killed) {
  const Database ledger = open_ledger(folder);
  towpath::Bus bus{folder + "/bus"};
  towpath::Topic<std::int64_t> payments{bus, "payments"};
  // [once]
  // If what was not booked yet is gone, that is an error, and nothing to skip.
  towpath::Consumer consumer{payments, {.auto_offset_reset = towpath::OffsetReset::none, .max_poll_records = 3}};
  consumer.seek({0}, towpath::Offset{run(ledger.get(), "SELECT max(next_offset) FROM progress")}).value();
  for (int transaction = 1;; ++transaction) {
    const auto batch = consumer.poll(100ms);
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
    if (batch.empty()) break;
    run(ledger.get(), "BEGIN");
    for (const auto& record : batch) run(ledger.get(), fmt::format("INSERT INTO entries VALUES ({})", record.value()));
    run(ledger.get(), fmt::format("DELETE FROM progress; INSERT INTO progress VALUES ({})",
                                  consumer.position(batch.partition()).value()));
    if (is_killed && transaction == 2) std::raise(SIGKILL);
    run(ledger.get(), "COMMIT");
  }
  // [/once]
}

int main(int argc, char** argv) {
  if (argc == 3) return book(argv[1], argv[2] == std::string{"killed"}), 0;

  const TempFolder folder;
  towpath::Bus bus{folder.path() + "/bus"};
  towpath::Topic<std::int64_t> payments{bus, "payments"};
  towpath::Producer producer{payments};
  for (std::int64_t amount = 1; amount <= 10; ++amount) producer.send(amount).value();

  for (const char* fate : {"killed", "spared"}) {
    fmt::print("the bookkeeper {}\n", wait_for(start_again({folder.path(), fate})));
    const Database ledger = open_ledger(folder.path());
    fmt::print("  {} entries, together {}; next is offset {}\n", run(ledger.get(), "SELECT count(*) FROM entries"),
               run(ledger.get(), "SELECT sum(amount) FROM entries"),
               run(ledger.get(), "SELECT max(next_offset) FROM progress"));
  }
}
