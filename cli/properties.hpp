// A topic's settings by Kafka's property names, as `topic create --config` and `topic describe` have them. Functions of
// their arguments.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <towpath/topic/topic_config.hpp>

namespace towpath::cli {

using Properties = std::vector<std::pair<std::string, std::string>>;

/// Every setting, in the order in which it is shown.
Properties properties_of(const TopicConfig& config);

/// Changes the settings that are typed as "name=value". Throws Quit with Exit::usage: a name that is none, twice the
/// same, or a value that is refused.
void set_properties(TopicConfig& config, const std::vector<std::string>& typed);

/// Gives the settings of these names their defaults. Throws Quit with Exit::usage.
void remove_properties(TopicConfig& config, const std::vector<std::string>& names);

}  // namespace towpath::cli
