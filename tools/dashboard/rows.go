package dashboard

// rows are the dashboard, from what everybody asks first to what few ever do.
func rows() []row {
	return []row{level(), throughput(), batches(), kafka(), qdrant(), cache(), encoder(), letters(), process()}
}

func level() row {
	return row{"Is it level?", []panel{
		{
			title: "Freshness, p99", kind: "stat", unit: "s", width: 4, worth: 10, bad: 60,
			says:    "How old 99 of 100 changes were at most when they became durable in the index, over five minutes. The objective is 60 s.",
			queries: []query{{`histogram_quantile(0.99, sum by (le) (rate(chunktide_freshness_seconds_bucket{@}[5m])))`, ""}},
		}, {
			title: "Budget left", kind: "stat", unit: "percentunit", width: 4, worth: 0.5, bad: 0.1, turned: true,
			says:    "What is left of the 1 % of changes that may take longer than 60 s, over 30 days (or as long as Prometheus keeps). It needs the recording rules of deploy/prometheus.",
			queries: []query{{`1 - max(chunktide:freshness_late:ratio_rate30d{@}) / 0.01`, ""}},
		}, {
			title: "Backlog", kind: "stat", unit: "short", width: 4, worth: 10000, bad: 1000000,
			says:    "Records between what is durable in the index and the end of the log. How grave that is depends on the time beside it.",
			queries: []query{{`sum(chunktide_backlog_events{@})`, ""}},
		}, {
			title: "Level in", kind: "stat", unit: "s", width: 4, worth: 60, bad: 300,
			says:    "How long the worker that is furthest behind will take, at the rate of its last minute of work. If it grows by a second each second, that worker stands still.",
			queries: []query{{`max(chunktide_backlog_drain_seconds{@})`, ""}},
		}, {
			title: "Points that differ", kind: "stat", unit: "short", width: 4, worth: 1, bad: 1,
			says:    "What the last look of index verify --watch found. Anything but 0 is a difference between the index and its source.",
			queries: []query{{`sum(chunktide_index_divergence{@})`, ""}},
		}, {
			title: "Last edit found", kind: "stat", unit: "s", width: 4, worth: 120, bad: 300,
			says:    "How long ago the canary began a round in which its edit was found by a search. It begins one every 30 s.",
			queries: []query{{`time() - min(chunktide_canary_last_success_timestamp_seconds{@} > 0)`, ""}},
		}, {
			title: "Alerts", kind: "state-timeline", width: 24, worth: 1, bad: 1,
			says:    "The alerts of deploy/prometheus/rules.yml that were firing. Each has a runbook in docs/OPERATIONS.md.",
			queries: []query{{`max by (alertname) (ALERTS{@,alertname=~"Chunktide.*",alertstate="firing"})`, "{{alertname}}"}},
		}, {
			title: "Freshness", unit: "s", width: 12, worth: 60, bad: 60,
			says: "From a change at its source to its being durable in the index. A replay or a redrive shows here too, since it brings old changes.",
			queries: []query{
				{`histogram_quantile(0.5, sum by (le) (rate(chunktide_freshness_seconds_bucket{@}[$__rate_interval])))`, "p50"},
				{`histogram_quantile(0.95, sum by (le) (rate(chunktide_freshness_seconds_bucket{@}[$__rate_interval])))`, "p95"},
				{`histogram_quantile(0.99, sum by (le) (rate(chunktide_freshness_seconds_bucket{@}[$__rate_interval])))`, "p99"},
			},
		}, {
			title: "Burn rate of the freshness budget", unit: "short", width: 12, worth: 3, bad: 14.4,
			says: "How many times faster than it may be the budget is used up. 1 lasts the 30 days, 14.4 two of them. The alerts are at 3, 6 and 14.4. It needs the recording rules.",
			queries: []query{
				{`max(chunktide:freshness_late:ratio_rate1h{@}) / 0.01`, "1 hour"},
				{`max(chunktide:freshness_late:ratio_rate6h{@}) / 0.01`, "6 hours"},
				{`max(chunktide:freshness_late:ratio_rate1d{@}) / 0.01`, "1 day"},
			},
		}, {
			title: "Backlog", unit: "short", width: 8, stacked: true,
			says:    "Records that wait, by worker. A worker counts its own partitions: where none runs nobody counts.",
			queries: []query{{`chunktide_backlog_events{@}`, "{{instance}}"}},
		}, {
			title: "Time to level", unit: "s", width: 8, worth: 300, bad: 300,
			says:    "Of each worker, at its own rate. Workers are scaled on the greatest. A line that rises by a second each second is a worker that stands still.",
			queries: []query{{`chunktide_backlog_drain_seconds{@}`, "{{instance}}"}},
		}, {
			title: "Canary", unit: "s", width: 8, worth: 60, bad: 60,
			says: "From the edit of a marker chunk to its being found by a search, with topic, worker, index and query encoder in between.",
			queries: []query{
				{`histogram_quantile(0.5, sum by (le) (rate(chunktide_canary_seconds_bucket{@}[5m])))`, "p50"},
				{`histogram_quantile(0.95, sum by (le) (rate(chunktide_canary_seconds_bucket{@}[5m])))`, "p95"},
			},
		}, {
			title: "Differences by kind", unit: "short", width: 12, stacked: true,
			says:    "As index verify names them: missing, stale, orphan, wrong_model, deleted, misassigned. chunktide index verify --repair mends them.",
			queries: []query{{`max by (kind) (chunktide_index_divergence{@})`, "{{kind}}"}},
		}, {
			title: "Canary's rounds that failed", unit: "short", width: 12, stacked: true,
			says:    "Within five minutes, by what went wrong: the table of the canary in docs/OPERATIONS.md says where to look.",
			queries: []query{{`sum by (result) (increase(chunktide_canary_rounds_total{@,result!="ok"}[5m]))`, "{{result}}"}},
		},
	}}
}

func throughput() row {
	return row{"Throughput", []panel{
		{
			title: "Events", unit: "eps", width: 12, stacked: true,
			says:    "Events a second that became durable, by operation and what became of them. superseded and stale cost nothing; rejected are in the dead letters.",
			queries: []query{{`sum by (op, result) (rate(chunktide_events_total{@}[$__rate_interval])) > 0`, "{{op}} {{result}}"}},
		}, {
			title: "Tokens", unit: "short", width: 12, stacked: true,
			says: "Tokens a second that went through the model, and those that need not, because their vector was known.",
			queries: []query{
				{`sum(rate(chunktide_tokens_encoded_total{@,kind="document"}[$__rate_interval]))`, "encoded"},
				{`sum(rate(chunktide_tokens_saved_total{@}[$__rate_interval]))`, "saved"},
			},
		}, {
			title: "Model calls saved", unit: "percentunit", width: 8, max: 1,
			says: "The share of upserts that needed no model call: cached, repeated, superseded, or stored already.",
			queries: []query{{
				`sum(rate(chunktide_model_calls_saved_total{@}[$__rate_interval])) / (sum(rate(chunktide_model_calls_saved_total{@}[$__rate_interval])) ` +
					`+ sum(rate(chunktide_model_calls_total{@,kind="document"}[$__rate_interval])))`, "saved",
			}},
		}, {
			title: "Money an hour", unit: "short", width: 8, stacked: true,
			says: "Tokens by the price above, in the price's currency.",
			queries: []query{
				{`sum(rate(chunktide_tokens_encoded_total{@}[$__rate_interval])) * 3600 / 1e6 * $price`, "spent"},
				{`sum(rate(chunktide_tokens_saved_total{@}[$__rate_interval])) * 3600 / 1e6 * $price`, "saved"},
			},
		}, {
			title: "Rate of the last minute of work", unit: "eps", width: 8,
			says:    "Events a second that became durable while there was a backlog: how fast each worker can be. 0 with a backlog is a halt.",
			queries: []query{{`chunktide_drain_rate_events_per_second{@}`, "{{instance}}"}},
		},
	}}
}

func batches() row {
	return row{"Batches and stages", []panel{
		{
			title: "Time of a batch in its stages", unit: "s", width: 8,
			says:    "The mean for each stage. The longest is the bound: poll waits for Kafka, embed for the encoder, apply for Qdrant.",
			queries: []query{{`sum by (stage) (rate(chunktide_stage_duration_seconds_sum{@}[$__rate_interval])) / sum by (stage) (rate(chunktide_stage_duration_seconds_count{@}[$__rate_interval]))`, "{{stage}}"}},
		}, {
			title: "The slowest batches", unit: "s", width: 8,
			says:    "99 of 100 batches take less. More than half of kafka.rebalance_timeout means that a rebalance takes batches away.",
			queries: []query{{`histogram_quantile(0.99, sum by (stage, le) (rate(chunktide_stage_duration_seconds_bucket{@}[$__rate_interval])))`, "{{stage}}"}},
		}, {
			title: "What closed the batches", unit: "short", width: 8, stacked: true,
			says:    "Batches a second. linger: there is little to do. tokens: they are full, which is what the encoder likes. bytes or events: that bound is the narrow one.",
			queries: []query{{`sum by (closed_by) (rate(chunktide_batches_total{@}[$__rate_interval]))`, "{{closed_by}}"}},
		}, {
			title: "Events in a batch", unit: "short", width: 8,
			says: "The mean, and what 95 of 100 have at most.",
			queries: []query{
				{`sum(rate(chunktide_batch_events_sum{@}[$__rate_interval])) / sum(rate(chunktide_batch_events_count{@}[$__rate_interval]))`, "mean"},
				{`histogram_quantile(0.95, sum by (le) (rate(chunktide_batch_events_bucket{@}[$__rate_interval])))`, "p95"},
			},
		}, {
			title: "Tokens in a batch", unit: "short", width: 8,
			says: "Of the distinct texts that it stored: the mean, and what 95 of 100 have at most.",
			queries: []query{
				{`sum(rate(chunktide_batch_tokens_sum{@}[$__rate_interval])) / sum(rate(chunktide_batch_tokens_count{@}[$__rate_interval]))`, "mean"},
				{`histogram_quantile(0.95, sum by (le) (rate(chunktide_batch_tokens_bucket{@}[$__rate_interval])))`, "p95"},
			},
		}, {
			title: "Padding", unit: "percentunit", width: 8, max: 1, worth: 0.2, bad: 0.5,
			says:    "The share of what the model computes for nothing, because texts of one run differ in length. chunktide tune finds better sizes.",
			queries: []query{{`sum(rate(chunktide_padding_ratio_sum{@}[$__rate_interval])) / sum(rate(chunktide_padding_ratio_count{@}[$__rate_interval]))`, "mean"}},
		},
	}}
}

func kafka() row {
	return row{"Kafka", []panel{
		{
			title: "Lag by partition", unit: "short", width: 12,
			says:    "Between what is durable in the index and the end of the log. One that is far above the others has hot keys, or stands still.",
			queries: []query{{`max by (topic, partition) (chunktide_consumer_lag{@})`, "{{topic}}/{{partition}}"}},
		}, {
			title: "Progress by partition", unit: "short", width: 12, stacked: true,
			says:    "Offsets a second that became durable. 0 with a lag is a partition that stands still. A change of its owner may show as a step.",
			queries: []query{{`clamp_min(deriv(chunktide_durable_offset{@}[5m]), 0)`, "{{topic}}/{{partition}} {{instance}}"}},
		}, {
			title: "Commits", unit: "short", width: 6, stacked: true,
			says:    "A second, by the broker's answer. retried passes by itself; fenced comes with a rebalance; failed ends the worker.",
			queries: []query{{`sum by (result) (rate(chunktide_commits_total{@}[$__rate_interval]))`, "{{result}}"}},
		}, {
			title: "Rebalances", unit: "short", width: 6, stacked: true,
			says:    "Changes of partitions within five minutes, over all workers. lost: a member was thrown out, which a deployment does not do.",
			queries: []query{{`sum by (kind) (increase(chunktide_rebalances_total{@}[5m]))`, "{{kind}}"}},
		}, {
			title: "Buffered records", unit: "bytes", width: 6,
			says:    "Records that wait or are in flight, of kafka.buffer_bytes. At the bound, reading waits for the rest: so it should, under load.",
			queries: []query{{`chunktide_buffered_bytes{@}`, "{{instance}}"}},
		}, {
			title: "Questions without an answer", unit: "short", width: 6, worth: 1, bad: 10,
			says:    "Within five minutes, about where the log ends. While they fail, lag and backlog are those of before.",
			queries: []query{{`increase(chunktide_backlog_look_failures_total{@}[5m])`, "{{instance}}"}},
		},
	}}
}

func qdrant() row {
	return row{"Qdrant", []panel{
		{
			title: "Requests", unit: "reqps", width: 8, stacked: true,
			says:    "By operation and result, each attempt counted. Errors are repeated, for as long as it takes.",
			queries: []query{{`sum by (op, result) (rate(chunktide_sink_requests_total{@}[$__rate_interval])) > 0`, "{{op}} {{result}}"}},
		}, {
			title: "Time of a request, p99", unit: "s", width: 8, worth: 5, bad: 5,
			says:    "By operation. A write waits until it is applied and acknowledged.",
			queries: []query{{`histogram_quantile(0.99, sum by (op, le) (rate(chunktide_sink_request_seconds_bucket{@}[$__rate_interval])))`, "{{op}}"}},
		}, {
			title: "Time of a request, p50", unit: "s", width: 8,
			says:    "By operation. It rises with the size of the collection's segments while the optimizer is behind.",
			queries: []query{{`histogram_quantile(0.5, sum by (op, le) (rate(chunktide_sink_request_seconds_bucket{@}[$__rate_interval])))`, "{{op}}"}},
		}, {
			title: "Share of requests that failed", unit: "percentunit", width: 8, max: 1, worth: 0.01, bad: 0.05,
			says: "By operation. 1 for writes: nothing becomes durable; look for a full disk.",
			queries: []query{{
				`sum by (op) (rate(chunktide_sink_requests_total{@,result="error"}[$__rate_interval])) / sum by (op) (rate(chunktide_sink_requests_total{@}[$__rate_interval]))`, "{{op}}",
			}},
		}, {
			title: "Repeated requests", unit: "reqps", width: 8,
			says:    "A second, by worker.",
			queries: []query{{`rate(chunktide_sink_retries_total{@}[$__rate_interval])`, "{{instance}}"}},
		}, {
			title: "Points written under the fence", unit: "wps", width: 8,
			says:    "A second. Qdrant does not say which of them it held back because it had a newer state.",
			queries: []query{{`sum(rate(chunktide_fenced_writes_total{@}[$__rate_interval]))`, "points"}},
		},
	}}
}

func cache() row {
	return row{"Cache", []panel{
		{
			title: "Hit rate", unit: "percentunit", width: 8, max: 1,
			says: "Of the lookups of each tier. Redis is asked for what memory does not have, and the index for what Redis does not.",
			queries: []query{{
				`sum by (tier) (rate(chunktide_cache_lookups_total{@,result="hit"}[$__rate_interval])) / sum by (tier) (rate(chunktide_cache_lookups_total{@}[$__rate_interval]))`, "{{tier}}",
			}},
		}, {
			title: "Lookups in Redis", unit: "ops", width: 8, stacked: true,
			says:    "error: it was not asked, or did not answer. corrupt: what came failed its checksum and was not used; there should be none.",
			queries: []query{{`sum by (result) (rate(chunktide_cache_lookups_total{@,tier="redis"}[$__rate_interval]))`, "{{result}}"}},
		}, {
			title: "Vectors given to Redis", unit: "ops", width: 8, stacked: true,
			says:    "present: another worker was there first. error: Redis did not take it, and the vector will be encoded once more.",
			queries: []query{{`sum by (result) (rate(chunktide_cache_stores_total{@}[$__rate_interval]))`, "{{result}}"}},
		}, {
			title: "Workers with Redis", unit: "percentunit", width: 8, max: 1, worth: 1, bad: 0.5, turned: true,
			says:    "The others leave it alone for a while after failures. They are as correct, and encode more.",
			queries: []query{{`avg(chunktide_cache_up{@})`, "with Redis"}},
		}, {
			title: "Memory tier", unit: "bytes", width: 8,
			says:    "Of cache.memory_bytes, by worker.",
			queries: []query{{`chunktide_cache_memory_bytes{@}`, "{{instance}}"}},
		}, {
			title: "Vectors in the memory tier", unit: "short", width: 8,
			says:    "By worker. Where it stands still below its bound, all that comes is known.",
			queries: []query{{`chunktide_cache_memory_entries{@}`, "{{instance}}"}},
		},
	}}
}

func encoder() row {
	return row{"Encoder and its service", []panel{
		{
			title: "Texts through the model", unit: "ops", width: 8, stacked: true,
			says:    "A second: documents by the workers, queries by serve, canary and console.",
			queries: []query{{`sum by (kind) (rate(chunktide_model_calls_total{@}[$__rate_interval]))`, "{{kind}}"}},
		}, {
			title: "Bound of a run", unit: "short", width: 8,
			says:    "Padded tokens of a run of several texts. It falls when the device had no memory, and then runs are smaller and slower.",
			queries: []query{{`min by (instance) (chunktide_run_tokens_limit{@})`, "{{instance}}"}},
		}, {
			title: "Runs without memory", unit: "short", width: 8, worth: 1, bad: 10,
			says:    "Within an hour. They were repeated in parts.",
			queries: []query{{`sum by (instance) (increase(chunktide_out_of_memory_total{@}[1h]))`, "{{instance}}"}},
		}, {
			title: "Requests to the service", unit: "reqps", width: 8, stacked: true,
			says:    "Of workers with embedder.encoder: remote. retried: it may pass; refused: a text's own fault; failed: it will not pass.",
			queries: []query{{`sum by (result) (rate(chunktide_remote_requests_total{@}[$__rate_interval]))`, "{{result}}"}},
		}, {
			title: "Time of a request to the service", unit: "s", width: 8,
			says: "As the worker sees it, what the service does not tell included.",
			queries: []query{
				{`histogram_quantile(0.5, sum by (le) (rate(chunktide_remote_request_duration_seconds_bucket{@}[$__rate_interval])))`, "p50"},
				{`histogram_quantile(0.99, sum by (le) (rate(chunktide_remote_request_duration_seconds_bucket{@}[$__rate_interval])))`, "p99"},
			},
		}, {
			title: "Answers of serve", unit: "reqps", width: 8, stacked: true,
			says:    "By status. 429: more waits than serve.queue_tokens; 503: a model that is not loaded, or an alias that Qdrant did not tell.",
			queries: []query{{`sum by (code) (rate(chunktide_serve_requests_total{@}[$__rate_interval])) > 0`, "{{code}}"}},
		}, {
			title: "Time of an answer of serve, p99", unit: "s", width: 8,
			says:    "By API, from a request's first byte to its answer.",
			queries: []query{{`histogram_quantile(0.99, sum by (api, le) (rate(chunktide_serve_request_duration_seconds_bucket{@}[$__rate_interval])))`, "{{api}}"}},
		}, {
			title: "Tokens that wait in serve", unit: "short", width: 8, stacked: true,
			says:    "Queries go first; documents wait. The bound is serve.queue_tokens.",
			queries: []query{{`sum by (kind) (chunktide_serve_queue_tokens{@})`, "{{kind}}"}},
		}, {
			title: "Questions about aliases that failed", unit: "short", width: 8, worth: 1, bad: 10,
			says:    "Within five minutes. Requests that name an alias get 503 then.",
			queries: []query{{`sum by (instance) (increase(chunktide_serve_alias_lookups_total{@,result="failed"}[5m]))`, "{{instance}}"}},
		},
	}}
}

func letters() row {
	return row{"Dead letters", []panel{
		{
			title: "By reason", unit: "short", width: 12, stacked: true,
			says:    "Within five minutes. What they say is missing in the index: chunktide dlq explain, mend the cause, chunktide dlq redrive.",
			queries: []query{{`sum by (reason) (increase(chunktide_dead_letters_total{@}[5m])) > 0`, "{{reason}}"}},
		}, {
			title: "Share of the events", unit: "percentunit", width: 6, max: 1, worth: 0.001, bad: 0.01,
			says: "Of those that became durable or went to the dead letters.",
			queries: []query{{
				`sum(rate(chunktide_dead_letters_total{@}[$__rate_interval])) / (sum(rate(chunktide_dead_letters_total{@}[$__rate_interval])) ` +
					`+ sum(rate(chunktide_events_total{@,result!="rejected"}[$__rate_interval])))`, "share",
			}},
		}, {
			title: "Without their record", unit: "short", width: 6,
			says:    "Dead letters within an hour that only point to their record, which was too large to copy. They can be redriven for as long as the topic holds it.",
			queries: []query{{`sum(increase(chunktide_dead_letters_cut_total{@}[1h]))`, "cut"}},
		},
	}}
}

// mine chooses those processes of a job that are Chunktide's.
const mine = ` and on (namespace, job, instance) chunktide_build_info{@}`

func process() row {
	return row{"Processes", []panel{
		{
			title: "What runs", kind: "table", width: 24,
			says:    "Programs by version and model. Two models in one group are a roll-out, or a mistake: the runbook on wrong models.",
			queries: []query{{`count by (namespace, job, instance, version, model_version) (chunktide_build_info{@})`, ""}},
		}, {
			title: "Memory", unit: "bytes", width: 6,
			says:    "Resident. limits.memory holds what the settings allow against one bound.",
			queries: []query{{`process_resident_memory_bytes{@}` + mine, "{{instance}}"}},
		}, {
			title: "CPU", unit: "short", width: 6,
			says:    "Cores in use. A worker on a CPU that encodes should have all it was given.",
			queries: []query{{`rate(process_cpu_seconds_total{@}[$__rate_interval])` + mine, "{{instance}}"}},
		}, {
			title: "Goroutines", unit: "short", width: 6,
			says:    "They do not grow with the backlog. A line that only rises is a leak.",
			queries: []query{{`go_goroutines{@}` + mine, "{{instance}}"}},
		}, {
			title: "Collection of garbage", unit: "percentunit", width: 6,
			says:    "The share of time in which the world stood still for it.",
			queries: []query{{`rate(go_gc_duration_seconds_sum{@}[$__rate_interval])` + mine, "{{instance}}"}},
		}, {
			title: "Heap", unit: "bytes", width: 6,
			says:    "What Go's heap holds; the model's own memory is not in it.",
			queries: []query{{`go_memstats_heap_inuse_bytes{@}` + mine, "{{instance}}"}},
		}, {
			title: "Open files", unit: "short", width: 6,
			says:    "Connections among them.",
			queries: []query{{`process_open_fds{@}` + mine, "{{instance}}"}},
		}, {
			title: "Up for", unit: "s", width: 6,
			says:    "A saw is a process that comes and goes.",
			queries: []query{{`time() - process_start_time_seconds{@}` + mine, "{{instance}}"}},
		}, {
			title: "Does not answer", unit: "short", width: 6, worth: 1, bad: 1,
			says:    "Processes that Prometheus cannot reach.",
			queries: []query{{`count by (job) (up{@} == 0 and on (namespace, job, instance) max_over_time(chunktide_build_info{@}[1d])) or 0 * count by (job) (chunktide_build_info{@})`, "{{job}}"}},
		},
	}}
}
