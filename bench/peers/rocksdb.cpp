// RocksDB as a log: the key is the record's number, big-endian, the value its 100 bytes. Tuned: write-ahead log on but
// not flushed (sync off), no compression, a memtable of 256 MiB so that flushes are few, as its own write benchmarks
// set it. append_100 writes each record, append_100_by_100 a WriteBatch of 100.
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <filesystem>

#include "store.hpp"

namespace bench {
namespace {

using Record = Payload<100>;

void expect_ok(const rocksdb::Status& status, const char* what) {
  if (!status.ok()) fail(std::string("rocksdb: ") + what + ": " + status.ToString());
}

class Database {
 public:
  Database(const Options& options, std::uint64_t batch) : path_(options.dir + "/rocksdb"), batch_size_(batch) {
    if (options.dir.empty()) fail("--dir is missing");
    rocksdb::Options settings;
    settings.create_if_missing = true;
    settings.error_if_exists = true;
    settings.compression = rocksdb::kNoCompression;
    settings.write_buffer_size = std::size_t{256} << 20;
    rocksdb::DB* opened = nullptr;
    expect_ok(rocksdb::DB::Open(settings, path_, &opened), "open");
    database_.reset(opened);
    writing_.sync = false;
    writing_.disableWAL = false;
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    database_.reset();
    std::filesystem::remove_all(path_);
  }

  void append(const Record& record) {
    const std::uint64_t key = __builtin_bswap64(next_++);
    const rocksdb::Slice key_bytes(reinterpret_cast<const char*>(&key), sizeof key);
    const rocksdb::Slice value(reinterpret_cast<const char*>(&record), sizeof record);
    if (batch_size_ == 1) return expect_ok(database_->Put(writing_, key_bytes, value), "Put");
    expect_ok(batch_.Put(key_bytes, value), "Put into a batch");
    if (++open_ == batch_size_) finish();
  }

  void finish() {
    if (open_ > 0) expect_ok(database_->Write(writing_, &batch_), "Write");
    batch_.Clear();
    open_ = 0;
  }

  template <class See>
  void read_all(See see) {
    const std::unique_ptr<rocksdb::Iterator> records(database_->NewIterator(rocksdb::ReadOptions()));
    for (records->SeekToFirst(); records->Valid(); records->Next()) {
      Record record;
      if (records->value().size() != sizeof record) fail("a record has a wrong length");
      std::memcpy(&record, records->value().data(), sizeof record);
      see(record);
    }
    expect_ok(records->status(), "iterate");
  }

 private:
  std::string path_;
  std::uint64_t batch_size_, open_ = 0, next_ = 0;
  std::unique_ptr<rocksdb::DB> database_;
  rocksdb::WriteBatch batch_;
  rocksdb::WriteOptions writing_;
};

void append(const Options& options, const char* measure, std::uint64_t batch) {
  Database database(options, batch);
  print(measure, append_to<100>(database, options.quick ? 100'000 : 1'000'000), "records/s");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(count, arguments,
                  {{"append_100", [](const Options& options) { append(options, "append_100", 1); }},
                   {"append_100_by_100", [](const Options& options) { append(options, "append_100_by_100", 100); }}});
}
