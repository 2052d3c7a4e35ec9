"""Reports: power quality of a week, energy of a month with what control saved, the commissioning record.

    measured = gather(...)          streams history by columns, keeps sums per interval
    found = power_quality(...)      pure: indices, events, gaps as frozen dataclasses
    page = power_quality_page(...)  pure: HTML with figures, and CSV beside it, in one of two languages
    shelf.put(...)                  in data_dir/reports, bounded; listed and served by the agent

Rules. The same input makes the same bytes: no time of making, no random names. A file is whole by itself: no
script, nothing fetched. Everything that comes from outside is text and is escaped by `markup`. Only `shelf`
and `options` are for the agent's own process: the rest brings numpy and runs in a process of its own.
"""
