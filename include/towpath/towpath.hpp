// towpath: processes on one host exchange records through shared, memory-mapped logs with Kafka's model.
// This header is a list: the stations of a record's way, from the words used everywhere to reading.
#pragma once

#include <towpath/consume/consumer.hpp>
#include <towpath/core/bytes.hpp>
#include <towpath/core/config.hpp>
#include <towpath/core/errc.hpp>
#include <towpath/core/formatters.hpp>
#include <towpath/core/hash.hpp>
#include <towpath/core/ids.hpp>
#include <towpath/core/pattern.hpp>
#include <towpath/core/result.hpp>
#include <towpath/core/time.hpp>
#include <towpath/core/topic_partition.hpp>
#include <towpath/core/version.hpp>
#include <towpath/log/codec.hpp>
#include <towpath/log/record_batch_builder.hpp>
#include <towpath/log/unpacked_batch.hpp>
#include <towpath/produce/producer.hpp>
#include <towpath/serde/serde.hpp>
#include <towpath/topic/admin.hpp>
#include <towpath/topic/bus.hpp>
#include <towpath/topic/partition.hpp>
#include <towpath/topic/partitioner.hpp>
#include <towpath/topic/topic.hpp>
