// gzip, snappy, lz4 and zstd for record batches, by zlib, libsnappy, liblz4 and libzstd. Include it in one file of the
// program (more do no harm) and link towpath::compression; from then on producers may compress and consumers read what
// was compressed, by this library or by any client of Kafka.
// Thread-safe. Nothing here throws. Unpacking writes into the caller's buffer, never more than its budget and one byte,
// so that a few bytes that claim to be gigabytes cost nothing. Nothing is kept: a crash leaves nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <towpath/towpath.hpp>

namespace towpath::inline TOWPATH_ABI::log::compression {

/// What is written with. Readers take any level.
inline constexpr int gzip_level = 6;
inline constexpr int zstd_level = 3;
inline constexpr int zstd_window_log_max = 23;                   ///< 8 MiB: what a reader gives a frame at most
inline constexpr std::size_t snappy_block_bytes = 32 * 1024;     ///< as Java's writer
inline constexpr std::size_t max_input_bytes = 0x7FFF'FFFF / 2;  ///< a batch's length is a signed 32-bit number

inline constexpr Failure no_memory{Errc::out_of_memory, "no memory to compress or decompress a record batch"};
inline constexpr Failure too_large_to_pack{Errc::message_too_large, "more than 1 GiB in one record batch"};

/// Room for what a codec unpacks. It doubles, and ends one byte above the budget: whoever fills it wrote too much.
class Room {
 public:
  Room(Buffer& out, std::uint64_t budget_bytes, std::size_t input_bytes) noexcept
      : out_{out},
        limit_{static_cast<std::size_t>(std::min<std::uint64_t>(budget_bytes, max_input_bytes)) + 1},
        first_{std::max<std::size_t>(64 * 1024, 4 * std::min(input_bytes, max_input_bytes))} {
    out.clear();
  }

  /// Where to write next and how much; empty when there is no memory.
  [[nodiscard]] std::span<std::byte> ask() noexcept {
    if (left() == 0 && !out_.reserve(std::min(limit_, std::max(first_, 2 * out_.capacity())))) return {};
    return {out_.data() + out_.size(), left()};
  }
  void add(std::size_t written) noexcept { static_cast<void>(out_.resize(out_.size() + written)); }  // was reserved
  [[nodiscard]] bool is_over() const noexcept { return out_.size() >= limit_; }
  [[nodiscard]] std::size_t left() const noexcept { return std::min(out_.capacity(), limit_) - out_.size(); }

 private:
  Buffer& out_;
  std::size_t limit_;
  std::size_t first_;
};

/// Lets `write(place, size)` append at most `bound` bytes to `out`; it returns how many, or nothing on an error.
template <class Write>
Result<void> append_packed(Buffer& out, std::size_t bound, const char* what, Write&& write) noexcept {
  const std::size_t before = out.size();
  if (!out.resize(before + bound)) return no_memory;
  const std::optional<std::size_t> written = write(out.data() + before, bound);
  static_cast<void>(out.resize(written ? before + *written : before));  // never longer than it is
  if (!written) return Failure{Errc::io_error, what};
  return {};
}

// ---- gzip

inline z_stream gzip_input(Bytes input) noexcept {
  z_stream stream{};
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(input.data()));  // zlib writes nothing there
  stream.avail_in = static_cast<uInt>(input.size());
  return stream;
}

inline Result<void> gzip_compress(Bytes input, Buffer& out) noexcept {
  if (input.size() > max_input_bytes) return too_large_to_pack;
  auto stream = gzip_input(input);
  if (::deflateInit2(&stream, gzip_level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return no_memory;
  const std::size_t bound = ::deflateBound(&stream, static_cast<uLong>(input.size()));
  const auto result = append_packed(out, bound, "zlib could not compress", [&](std::byte* at, std::size_t size) {
    stream.next_out = reinterpret_cast<Bytef*>(at);
    stream.avail_out = static_cast<uInt>(size);
    return ::deflate(&stream, Z_FINISH) == Z_STREAM_END ? std::optional{size - stream.avail_out} : std::nullopt;
  });
  ::deflateEnd(&stream);
  return result;
}

/// One gzip member behind the other, as the format allows, to the end of the input.
inline Result<void> gunzip(z_stream& stream, Room room) noexcept {
  for (;;) {
    const auto free = room.ask();
    if (free.empty()) return no_memory;
    stream.next_out = reinterpret_cast<Bytef*>(free.data());
    stream.avail_out = static_cast<uInt>(free.size());
    const int result = ::inflate(&stream, Z_NO_FLUSH);
    room.add(free.size() - stream.avail_out);
    if (room.is_over()) return Failure{Errc::corrupt, "a gzip record batch decompresses to more than is allowed"};
    if (result == Z_MEM_ERROR) return no_memory;
    if (result != Z_OK && result != Z_STREAM_END)  // Z_BUF_ERROR: the input ends too early
      return Failure{Errc::corrupt, "a gzip record batch is damaged or cut short"};
    if (result == Z_STREAM_END && stream.avail_in == 0) return {};
    if (result == Z_STREAM_END) ::inflateReset(&stream);
  }
}

inline Result<void> gzip_decompress(Bytes input, Buffer& out, std::uint64_t budget_bytes) noexcept {
  if (input.size() > max_input_bytes) return Failure{Errc::corrupt, "a gzip record batch of more than 1 GiB"};
  auto stream = gzip_input(input);
  if (::inflateInit2(&stream, 15 + 16) != Z_OK) return no_memory;
  const auto result = gunzip(stream, Room{out, budget_bytes, input.size()});
  ::inflateEnd(&stream);
  return result;
}

// ---- snappy: one block, or Java's "xerial" framing: 16 bytes, then blocks behind their 32-bit lengths

inline constexpr unsigned char xerial_header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
inline constexpr std::size_t xerial_magic_bytes = 8;

inline bool is_xerial(Bytes input) noexcept {
  return input.size() >= sizeof xerial_header && std::memcmp(input.data(), xerial_header, xerial_magic_bytes) == 0;
}

inline Result<void> snappy_compress(Bytes input, Buffer& out) noexcept {
  if (input.size() > max_input_bytes) return too_large_to_pack;
  const std::size_t before = out.size();
  if (!out.resize(before + sizeof xerial_header)) return no_memory;
  std::memcpy(out.data() + before, xerial_header, sizeof xerial_header);
  for (std::size_t at = 0; at < input.size(); at += snappy_block_bytes) {
    const std::size_t size = std::min(snappy_block_bytes, input.size() - at);
    const auto block =
        append_packed(out, 4 + ::snappy_max_compressed_length(size), "snappy could not compress",
                      [&](std::byte* to, std::size_t room) {
                        std::size_t length = room - 4;
                        const auto* from = reinterpret_cast<const char*>(input.data()) + at;
                        if (::snappy_compress(from, size, reinterpret_cast<char*>(to) + 4, &length) != SNAPPY_OK)
                          return std::optional<std::size_t>{};
                        store_big_endian(to, static_cast<std::int32_t>(length));
                        return std::optional{4 + length};
                      });
    if (!block) return static_cast<void>(out.resize(before)), block.error();
  }
  return {};
}

/// Appends one block. The length that it claims is checked before a byte of it is believed.
inline Result<void> unsnap(Bytes block, Buffer& out, std::uint64_t budget_bytes) noexcept {
  constexpr std::size_t max_ratio = 22;  // three bytes of snappy make 64 bytes at most
  constexpr Failure damaged{Errc::corrupt, "a snappy record batch is damaged or cut short"};
  std::size_t length = 0;
  const auto* from = reinterpret_cast<const char*>(block.data());
  if (block.empty() || ::snappy_uncompressed_length(from, block.size(), &length) != SNAPPY_OK) return damaged;
  if (length > budget_bytes || out.size() > budget_bytes - length)
    return Failure{Errc::corrupt, "a snappy record batch decompresses to more than is allowed"};
  if (length / max_ratio > block.size()) return damaged;
  const std::size_t before = out.size();
  if (!out.resize(before + length)) return no_memory;
  if (length == 0) return {};
  auto* const to = reinterpret_cast<char*>(out.data() + before);
  return ::snappy_uncompress(from, block.size(), to, &length) == SNAPPY_OK ? Result<void>{} : damaged;
}

inline Result<void> snappy_decompress(Bytes input, Buffer& out, std::uint64_t budget_bytes) noexcept {
  out.clear();
  if (!is_xerial(input)) return unsnap(input, out, budget_bytes);
  auto left = input.span().subspan(sizeof xerial_header);
  while (!left.empty()) {
    constexpr Failure damaged{Errc::corrupt, "a snappy record batch has a block that reaches behind its end"};
    if (left.size() < 4) return damaged;
    const auto length = load_big_endian<std::uint32_t>(left.data());
    if (length > left.size() - 4) return damaged;
    if (auto block = unsnap(left.subspan(4, length), out, budget_bytes); !block) return block;
    left = left.subspan(4 + length);
  }
  return {};
}

// ---- lz4: the frame format. Java's reader takes only blocks that do not depend on each other

inline Result<void> lz4_compress(Bytes input, Buffer& out) noexcept {
  if (input.size() > max_input_bytes) return too_large_to_pack;
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  const std::size_t bound = ::LZ4F_compressFrameBound(input.size(), &preferences);
  return append_packed(out, bound, "lz4 could not compress", [&](std::byte* at, std::size_t size) {
    const std::size_t result = ::LZ4F_compressFrame(at, size, input.data(), input.size(), &preferences);
    return ::LZ4F_isError(result) ? std::nullopt : std::optional{result};
  });
}

struct FreeLz4 {
  void operator()(LZ4F_dctx* context) const noexcept { ::LZ4F_freeDecompressionContext(context); }
};

inline Result<void> lz4_decompress(Bytes input, Buffer& out, std::uint64_t budget_bytes) noexcept {
  LZ4F_dctx* made = nullptr;
  if (::LZ4F_isError(::LZ4F_createDecompressionContext(&made, LZ4F_VERSION))) return no_memory;
  const std::unique_ptr<LZ4F_dctx, FreeLz4> context{made};
  Room room{out, budget_bytes, input.size()};
  for (auto left = input.span();;) {
    const auto free = room.ask();
    if (free.empty()) return no_memory;
    std::size_t written = free.size();
    std::size_t read = left.size();
    const std::size_t wanted = ::LZ4F_decompress(context.get(), free.data(), &written, left.data(), &read, nullptr);
    if (::LZ4F_isError(wanted)) return Failure{Errc::corrupt, "an lz4 record batch is damaged"};
    room.add(written);
    left = left.subspan(read);
    if (room.is_over()) return Failure{Errc::corrupt, "an lz4 record batch decompresses to more than is allowed"};
    if (wanted == 0 && left.empty()) return {};
    if (written == 0 && read == 0) return Failure{Errc::corrupt, "an lz4 record batch is cut short"};
  }
}

// ---- zstd

inline Result<void> zstd_compress(Bytes input, Buffer& out) noexcept {
  if (input.size() > max_input_bytes) return too_large_to_pack;
  const std::size_t bound = ::ZSTD_compressBound(input.size());
  return append_packed(out, bound, "zstd could not compress", [&](std::byte* at, std::size_t size) {
    const std::size_t result = ::ZSTD_compress(at, size, input.data(), input.size(), zstd_level);
    return ::ZSTD_isError(result) ? std::nullopt : std::optional{result};
  });
}

struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const noexcept { ::ZSTD_freeDCtx(context); }
};

inline Failure zstd_failure(std::size_t result) noexcept {
  switch (::ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation: return no_memory;
    case ZSTD_error_frameParameter_windowTooLarge:
      return {Errc::corrupt, "a zstd record batch asks for a window above 8 MiB"};
    default: return {Errc::corrupt, "a zstd record batch is damaged"};
  }
}

inline Result<void> zstd_decompress(Bytes input, Buffer& out, std::uint64_t budget_bytes) noexcept {
  const std::unique_ptr<ZSTD_DCtx, FreeZstd> context{::ZSTD_createDCtx()};
  if (!context) return no_memory;
  ::ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, zstd_window_log_max);
  Room room{out, budget_bytes, input.size()};
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  for (;;) {
    const auto free = room.ask();
    if (free.empty()) return no_memory;
    ZSTD_outBuffer to{free.data(), free.size(), 0};
    const std::size_t read = in.pos;
    const std::size_t wanted = ::ZSTD_decompressStream(context.get(), &to, &in);
    if (::ZSTD_isError(wanted)) return zstd_failure(wanted);
    room.add(to.pos);
    if (room.is_over()) return Failure{Errc::corrupt, "a zstd record batch decompresses to more than is allowed"};
    if (wanted == 0 && in.pos == in.size) return {};
    if (to.pos == 0 && in.pos == read) return Failure{Errc::corrupt, "a zstd record batch is cut short"};
  }
}

// ---- into the table of this process

inline constexpr Codec gzip{&gzip_compress, &gzip_decompress};
inline constexpr Codec snappy{&snappy_compress, &snappy_decompress};
inline constexpr Codec lz4{&lz4_compress, &lz4_decompress};
inline constexpr Codec zstd{&zstd_compress, &zstd_decompress};

/// Done by including this header, before main(). Call it only where codecs are used before that, by other initializers.
inline bool install() noexcept {
  install_codec(Compression::gzip, gzip);
  install_codec(Compression::snappy, snappy);
  install_codec(Compression::lz4, lz4);
  install_codec(Compression::zstd, zstd);
  return true;
}
inline const bool installed = install();

}  // namespace towpath::inline TOWPATH_ABI::log::compression
