// Which partitions a Consumer reads, and from where: those it was given, or all of the topics that it subscribed to,
// as these come, grow and go. One thread.
#pragma once

#include <deque>
#include <map>

#include <towpath/consume/consumer_config.hpp>
#include <towpath/consume/reader_seat.hpp>
#include <towpath/consume/subscription.hpp>
#include <towpath/log/time_index.hpp>
#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// A topic as one consumer has it open.
struct ReadTopic {
  std::shared_ptr<TopicFiles> files;
  std::shared_ptr<log::Pins> pins;
  std::int32_t old_partitions = 0;     // those below were there when it was subscribed to
  std::int32_t taken_on = 0;           // those below are assigned; only where all are
  std::unique_ptr<ReaderSeat> seat{};  // of a consumer with a name

  [[nodiscard]] const std::string& name() const noexcept { return files->name(); }
};

/// One assigned partition.
struct Assigned {
  Assigned(PartitionId partition, const log::PartitionLog& log, std::shared_ptr<ReadTopic> of)
      : id{partition},
        reader{log, of->pins},
        value_alignment{of->files->format().value_alignment},
        topic{std::move(of)} {}
  ~Assigned() {
    if (topic->files->core().is_mine()) registration.leave();  // in a child the words are not mapped
  }
  Assigned(const Assigned&) = delete;
  Assigned& operator=(const Assigned&) = delete;

  [[nodiscard]] TopicPartition name() const { return {topic->name(), id}; }

  PartitionId id;
  log::Reader reader;
  bool has_position = false;
  bool paused = false;
  std::uint64_t missed = 0;  // not yet told
  std::uint64_t value_alignment;
  std::shared_ptr<ReadTopic> topic;
  log::WaiterRegistration registration;
};

class Assignment {
 public:
  using List = std::vector<std::unique_ptr<Assigned>>;

  /// `schema` is that of the values that are read. `config` and `bus` outlive this.
  Assignment(const Bus& bus, const ConsumerConfig& config, const Schema& schema) noexcept
      : bus_{bus}, config_{config}, schema_{schema}, generation_{&bus.core()->control().catalog_generation} {}

  // ---- what to read

  /// One topic, for ever: it is not looked for again when it is deleted. Errors: unknown_partition, those of mapping.
  Result<void> read_only_this(std::shared_ptr<TopicFiles> files) {
    auto topic = open(std::move(files), true);
    if (!topic) return topic.error();
    is_fixed_ = true;
    topics_.push_back(std::move(*topic));
    if (!config_.partitions.empty()) return assign(config_.partitions);
    takes_all_ = true;
    return take_on(topics_.front());
  }

  /// In place of what was subscribed to or assigned before; topics that stay keep their positions. What cannot be read
  /// becomes news. Errors: invalid_argument.
  Result<void> subscribe(Subscription subscription) {
    if (is_fixed_) return Failure{Errc::invalid_argument, "this consumer was made of a Topic: make one of the bus"};
    subscription_ = std::move(subscription);
    takes_all_ = true;
    refusals_.clear(), news_.clear();
    refresh(true);
    return {};
  }
  Result<void> unsubscribe() {
    if (is_fixed_) return Failure{Errc::invalid_argument, "this consumer was made of a Topic; let it go instead"};
    subscription_ = Subscription{};
    takes_all_ = false;
    refusals_.clear(), news_.clear();
    drop_if([](const ReadTopic&) { return true; });
    return {};
  }

  /// These and no others; those that stay keep position and pause. Nothing changes if one cannot be had.
  /// Errors: unknown_partition, unknown_topic, type_mismatch, invalid_argument, those of mapping.
  Result<void> assign(const std::vector<TopicPartition>& wanted) {
    std::vector<std::shared_ptr<ReadTopic>> topics;
    List added;
    using Name = std::pair<std::string_view, PartitionId>;  // its topic's text outlives this call
    std::map<Name, std::size_t> places;                     // in all_, then in added
    for (const auto& assigned : all_) places.emplace(Name{assigned->topic->name(), assigned->id}, places.size());
    for (const auto& at : wanted) {
      if (places.contains({at.topic, at.partition})) continue;
      auto topic = topic_for(at.topic, topics);
      if (!topic) return topic.error();
      auto begun = begin(*topic, at.partition, config_.auto_offset_reset);
      if (!begun) return begun.error();
      places.emplace(Name{(*begun)->topic->name(), at.partition}, all_.size() + added.size());
      added.push_back(std::move(*begun));
    }
    List next;
    for (const auto& at : wanted) {
      const std::size_t place = places.at({at.topic, at.partition});
      auto& owner = place < all_.size() ? all_[place] : added[place - all_.size()];
      if (owner) next.push_back(std::move(owner));  // null: named before
    }
    all_ = std::move(next);
    topics_.insert(topics_.end(), topics.begin(), topics.end());
    takes_all_ = false;
    subscription_ = Subscription{};
    for (auto& topic : topics_) topic->taken_on = 0;
    if (!is_fixed_) std::erase_if(topics_, [&](const auto& topic) { return !is_assigned(*topic); });
    return {};
  }
  /// Of the only topic there is.
  Result<void> assign(const std::vector<PartitionId>& wanted) {
    const auto topic = only_topic();
    if (!topic) return topic.error();
    std::vector<TopicPartition> named;
    for (const PartitionId id : wanted) named.emplace_back((*topic)->name(), id);
    return assign(named);
  }

  // ---- following what comes and goes

  /// One load when nothing changed.
  [[nodiscard]] TOWPATH_HOT bool is_current() const noexcept {
    return generation_->load(shm::acquire) == seen_;  // pairs with the release of whoever made, grew or removed a topic
  }
  /// The next look is not current.
  void look_again() noexcept { seen_ = never; }
  /// As look_again, if the last look was a while ago: whoever changes the catalog may die before he says so.
  void look_again_after(Duration time) noexcept {
    if ((takes_all_ || !topics_.empty()) && bus_.core()->config().clock.steady() - looked_at_ >= time) look_again();
  }

  /// Takes on what came, drops what went. What goes wrong becomes news. `is_old`: what is there now was there when it
  /// was subscribed to.
  TOWPATH_COLD void refresh(bool is_old = false) {
    const std::uint64_t generation = generation_->load(shm::acquire);  // before the look
    looked_at_ = bus_.core()->config().clock.steady();
    if (!is_fixed_) follow_topics(is_old);
    for (std::size_t i = 0; takes_all_ && i < topics_.size(); ++i)
      if (auto done = take_on(topics_[i]); !done) tell(topics_[i]->name(), done.error(), {}, is_old);
    seen_ = news_.empty() ? generation : never;
  }

  /// What happened, one thing at a time; is_current() is false while there is more.
  std::optional<TopicNews> take_news() {
    if (news_.empty()) return std::nullopt;
    auto first = std::move(news_.front());
    news_.pop_front();
    return first;
  }

  /// Says how far a consumer with a name has come: what it polled before, it is done with.
  TOWPATH_COLD void publish() const noexcept {
    for (const auto& assigned : all_)
      if (assigned->has_position && assigned->topic->seat)
        assigned->topic->seat->publish(assigned->id.value, assigned->reader.position());
  }

  // ---- what is read

  /// To the first record (earliest) or behind the last (latest). Errors: those of mapping.
  static Result<void> reset(Assigned& assigned, OffsetReset policy) {
    if (policy == OffsetReset::earliest)
      assigned.reader.seek(assigned.reader.log().begin());
    else if (auto end = assigned.reader.find_end(); !end)
      return end.error();
    assigned.has_position = true;
    return {};
  }

  [[nodiscard]] TOWPATH_HOT List& all() noexcept { return all_; }
  [[nodiscard]] bool is_fixed() const noexcept { return is_fixed_; }

  [[nodiscard]] Assigned* find(const TopicPartition& at) noexcept {
    const auto found = find_in(all_, at);
    return found == all_.end() ? nullptr : found->get();
  }

  /// Errors: invalid_argument (several), not_assigned (none).
  [[nodiscard]] Result<ReadTopic*> only_topic() const noexcept {
    if (topics_.size() == 1) return topics_.front().get();
    if (topics_.empty()) return Failure{Errc::not_assigned, "this consumer reads no topic now"};
    return Failure{Errc::invalid_argument, "this consumer reads several topics: name the topic, {\"name\", {0}}"};
  }
  /// Errors: not_assigned, invalid_argument (several topics).
  [[nodiscard]] Result<Assigned*> find(PartitionId id) noexcept {
    const auto topic = only_topic();
    if (!topic) return topic.error();
    const auto place = static_cast<std::size_t>(id.value);
    if (place < all_.size() && all_[place]->id == id) return all_[place].get();  // as they stand where all are read
    for (auto& assigned : all_)
      if (assigned->id == id) return assigned.get();
    return Failure{Errc::not_assigned, "this consumer does not read that partition"};
  }

  /// Sorted. Those that are named and those that are read.
  [[nodiscard]] std::vector<std::string> topics() const {
    auto names = subscription_.named();
    for (const auto& topic : topics_)
      if (!subscription_.names(topic->name())) names.push_back(topic->name());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  static constexpr std::uint64_t never = ~std::uint64_t{0};  // no generation

  static List::iterator find_in(List& all, const TopicPartition& at) noexcept {
    const auto is_it = [&](const auto& a) { return a && a->id == at.partition && a->topic->name() == at.topic; };
    const auto place = static_cast<std::size_t>(at.partition.value);
    if (place < all.size() && is_it(all[place])) return all.begin() + at.partition.value;  // where one topic is read
    return std::find_if(all.begin(), all.end(), is_it);
  }
  [[nodiscard]] bool is_assigned(const ReadTopic& topic) const noexcept {
    return std::any_of(all_.begin(), all_.end(), [&](const auto& a) { return a->topic.get() == &topic; });
  }

  Result<std::shared_ptr<ReadTopic>> open(std::shared_ptr<TopicFiles> files, bool is_old) const {
    auto pins = files->open_pins_holder();
    if (!pins) return pins.error();
    const std::int32_t old = is_old ? files->partitions() : 0;
    auto topic = std::make_shared<ReadTopic>(ReadTopic{std::move(files), std::move(*pins), old});
    if (config_.name.empty()) return topic;
    auto seat = ReaderSeat::take(*topic->files, config_.name);
    if (!seat) return seat.error();
    topic->seat = std::make_unique<ReaderSeat>(std::move(*seat));
    return topic;
  }

  /// A topic of an assignment: one that is read, one of `opened`, or one that is opened now.
  Result<std::shared_ptr<ReadTopic>> topic_for(const std::string& name,
                                               std::vector<std::shared_ptr<ReadTopic>>& opened) {
    for (const auto* known : {&topics_, &opened})
      for (const auto& topic : *known)
        if (topic->name() == name) return topic;
    if (is_fixed_) return Failure{Errc::invalid_argument, "this consumer was made of another Topic"};
    auto files = bus_.catalog().open(name);
    if (!files) return files.error();
    if (auto fine = check_schema((*files)->stored(), schema_); !fine) return fine.error();
    auto topic = open(std::move(*files), true);
    if (topic) opened.push_back(*topic);
    return topic;
  }

  Result<std::unique_ptr<Assigned>> begin(const std::shared_ptr<ReadTopic>& topic, PartitionId id,
                                          OffsetReset policy) const {
    auto log = topic->files->partition(id);
    if (!log) return log.error();
    auto assigned = std::make_unique<Assigned>(id, **log, topic);
    if (topic->seat) {
      if (auto room = topic->seat->grow(topic->files->partitions()); !room) return room.error();
      if (const auto before = topic->seat->stood_at(id.value)) {
        assigned->reader.seek(*before);
        assigned->has_position = true;
        return assigned;
      }
      if (topic->files->waits_for(config_.name)) policy = OffsetReset::earliest;  // what was kept for it
    }
    if (policy == OffsetReset::none) return assigned;
    if (auto done = reset(*assigned, policy); !done) return done.error();
    return assigned;
  }

  /// The partitions of a topic that are not assigned yet: what came later from its first record.
  Result<void> take_on(const std::shared_ptr<ReadTopic>& topic) {
    const bool some = topic->taken_on < topic->files->partitions() && is_assigned(*topic);
    for (; topic->taken_on < topic->files->partitions(); ++topic->taken_on) {
      if (some && find({topic->name(), {topic->taken_on}})) continue;  // by hand, before
      const bool is_old = topic->taken_on < topic->old_partitions;
      auto begun = begin(topic, {topic->taken_on}, is_old ? config_.auto_offset_reset : OffsetReset::earliest);
      if (!begun) return begun.error();
      all_.push_back(std::move(*begun));
    }
    return {};
  }

  template <class Which>
  void drop_if(const Which& which) {
    std::erase_if(all_, [&](const auto& assigned) { return which(*assigned->topic); });
    std::erase_if(topics_, [&](const auto& topic) { return which(*topic); });
  }

  void tell(const std::string& topic, const Failure& failure, const std::string& id, bool is_old) {
    if (refusals_.note(topic, failure, id, is_old)) news_.push_back({topic, failure});
  }

  void follow_topics(bool is_old) {
    const bool is_assigned_by_hand = subscription_.empty();
    const auto wanted =
        is_assigned_by_hand ? Result<std::vector<std::string>>{topics()} : subscription_.wanted(bus_.catalog());
    if (!wanted) return tell({}, wanted.error(), {}, is_old);
    refusals_.keep_only(*wanted);
    drop_if([&](const ReadTopic& topic) { return !std::binary_search(wanted->begin(), wanted->end(), topic.name()); });
    for (const auto& name : *wanted) {
      auto files = bus_.catalog().open(name);
      const auto is_other = [&](const ReadTopic& topic) {
        return topic.name() == name && (!files || topic.files != *files);
      };
      const bool is_gone = std::any_of(topics_.begin(), topics_.end(), [&](auto& topic) { return is_other(*topic); });
      if (is_gone && (is_assigned_by_hand || subscription_.names(name)))
        news_.push_back({name, {Errc::topic_deleted, "the topic was deleted under this consumer"}});
      if (is_gone) drop_if(is_other);
      if (!is_assigned_by_hand) follow(name, files, is_old);
    }
  }

  void follow(const std::string& name, const Result<std::shared_ptr<TopicFiles>>& files, bool is_old) {
    if (!files && files.error() == Errc::unknown_topic) return void(refusals_.forget(name));  // waited for
    if (!files) return tell(name, files.error(), {}, is_old);
    if (std::any_of(topics_.begin(), topics_.end(), [&](auto& topic) { return topic->files == *files; })) return;
    if (auto fine = check_schema((*files)->stored(), schema_); !fine)
      return tell(name, fine.error(), (*files)->stored().id, is_old);
    auto topic = open(*files, is_old);
    if (!topic) return tell(name, topic.error(), (*files)->stored().id, is_old);
    if (refusals_.forget(name, (*files)->stored().id)) (*topic)->old_partitions = (*files)->partitions();
    topics_.push_back(std::move(*topic));
  }

  Bus bus_;
  const ConsumerConfig& config_;
  Schema schema_;
  const shm::Word64* generation_;
  std::uint64_t seen_ = never;
  List all_;
  bool is_fixed_ = false;   // of one topic, which is not looked for
  bool takes_all_ = false;  // every partition of every topic, later ones too
  std::vector<std::shared_ptr<ReadTopic>> topics_;
  Subscription subscription_;
  Refusals refusals_;
  std::deque<TopicNews> news_;
  Monotonic looked_at_{};
};

}  // namespace towpath::inline TOWPATH_ABI::detail
