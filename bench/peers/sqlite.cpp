// SQLite as a log: one table, one prepared INSERT. Tuned: write-ahead log with synchronous=NORMAL, which survives a
// killed process and flushes only at checkpoints; no other program may open the file (locking_mode=EXCLUSIVE), which
// saves locks. append_100 commits each record, append_100_by_100 commits 100 at a time.
#include <sqlite3.h>

#include <filesystem>

#include "store.hpp"

namespace bench {
namespace {

using Record = Payload<100>;

class Database {
 public:
  Database(const Options& options, std::uint64_t batch) : path_(options.dir + "/sqlite"), batch_(batch) {
    if (options.dir.empty()) fail("--dir is missing");
    std::filesystem::create_directory(path_);
    check_code(sqlite3_open((path_ + "/log.db").c_str(), &database_), "open");
    run("PRAGMA locking_mode=EXCLUSIVE");
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=NORMAL");
    run("CREATE TABLE log(number INTEGER PRIMARY KEY, value BLOB)");
    insert_ = prepare("INSERT INTO log(value) VALUES(?)");
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    sqlite3_finalize(insert_);
    sqlite3_close(database_);
    std::filesystem::remove_all(path_);
  }

  void append(const Record& record) {
    if (batch_ > 1 && open_++ == 0) run("BEGIN");
    check_code(sqlite3_bind_blob(insert_, 1, &record, sizeof record, SQLITE_STATIC), "bind");
    if (sqlite3_step(insert_) != SQLITE_DONE) fail(std::string("INSERT: ") + sqlite3_errmsg(database_));
    check_code(sqlite3_reset(insert_), "reset");
    if (open_ == batch_) finish();
  }

  void finish() {
    if (open_ > 0) run("COMMIT");
    open_ = 0;
  }

  template <class See>
  void read_all(See see) {
    sqlite3_stmt* const select = prepare("SELECT value FROM log ORDER BY number");
    int code;
    for (Record record; (code = sqlite3_step(select)) == SQLITE_ROW; see(record)) {
      if (sqlite3_column_bytes(select, 0) != sizeof record) fail("a record has a wrong length");
      std::memcpy(&record, sqlite3_column_blob(select, 0), sizeof record);
    }
    if (code != SQLITE_DONE) fail(std::string("SELECT: ") + sqlite3_errmsg(database_));
    sqlite3_finalize(select);
  }

 private:
  void check_code(int code, const char* what) {
    if (code != SQLITE_OK) fail(std::string("sqlite: ") + what + ": " + sqlite3_errmsg(database_));
  }
  void run(const char* statement) {
    check_code(sqlite3_exec(database_, statement, nullptr, nullptr, nullptr), statement);
  }
  sqlite3_stmt* prepare(const char* statement) {
    sqlite3_stmt* prepared = nullptr;
    check_code(sqlite3_prepare_v2(database_, statement, -1, &prepared, nullptr), statement);
    return prepared;
  }

  std::string path_;
  std::uint64_t batch_, open_ = 0;
  sqlite3* database_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
};

void append(const Options& options, const char* measure, std::uint64_t batch, std::uint64_t count) {
  Database database(options, batch);
  print(measure, append_to<100>(database, options.quick ? count / 10 : count), "records/s");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(
      count, arguments,
      {{"append_100", [](const Options& options) { append(options, "append_100", 1, 100'000); }},
       {"append_100_by_100", [](const Options& options) { append(options, "append_100_by_100", 100, 1'000'000); }}});
}
