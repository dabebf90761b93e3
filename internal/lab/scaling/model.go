package main

import "math"

// A figure is a number of the model and where it comes from.
type figure struct {
	what  string
	value float64
	unit  string
	// document and quote are the place where a measured value stands; an assumption has a reason.
	document, quote, reason string
}

const (
	performance = "docs/performance.md"
	analytics   = "docs/analytics.md"
	cluster     = "docs/cluster.md"
)

// What was measured. Times of processors are seconds for a million receipts.
var (
	logBytes   = figure{what: "log", value: 2.9, unit: "bytes a receipt", document: performance, quote: "| log, state | 2.9 and 3.9 bytes a receipt |"}
	stateBytes = figure{what: "state", value: 3.9, unit: "bytes a receipt", document: performance, quote: "| log, state | 2.9 and 3.9 bytes a receipt |"}
	serverCPU  = figure{what: "a server over HTTP, all of it, 100 M receipts in the state", value: 1.3, unit: "s a million", document: performance, quote: "| processor of the server, s a million | 1.0 | 1.3 | 1.25 |"}
	growthCPU  = figure{what: "that, against a hundredth of the state", value: 1.25, unit: "times", document: performance, quote: "| processor of the server, s a million | 1.0 | 1.3 | 1.25 |"}
	foldCPU    = figure{what: "of it the fold", value: 0.32, unit: "s a million", document: performance, quote: "| fold, most of it misses of the processor's caches | 0.23 | 0.32 |"}
	compactCPU = figure{what: "compaction", value: 0.2, unit: "s a million", document: performance, quote: "| compaction | 0 | 0.05 to 0.2 |"}
	checkCPU   = figure{what: "checkpoints", value: 0.10, unit: "s a million", document: performance, quote: "| sorting and writing checkpoints | 0.08 | 0.10 |"}
	decodeCPU  = figure{what: "decoding", value: 0.05, unit: "s a million", document: performance, quote: "| decoding, encoding | 0.04 | 0.05 |"}
	collectCPU = figure{what: "collection, scheduler", value: 0.08, unit: "s a million", document: performance, quote: "| collection, scheduler, the rest | 0.03 | 0.08 |"}
	brokerCPU  = figure{what: "nats-server", value: 0.08, unit: "s a million", document: performance, quote: "| nats-server and its file | 0.02 | 0.08 |"}
	clusterCPU = figure{what: "three nodes with three copies and three replicas, all of it, small state", value: 6.9, unit: "s a million", document: performance, quote: "| 3 nodes, 3 copies | 239 k | 6.9 |"}
	replayRate = figure{what: "replay of two partitions on two cores, 200 M receipts", value: 2.1, unit: "M/s", document: performance, quote: "2.8 M/s end to end and 2.1 M/s in the replay"}
	connection = figure{what: "an idle SDK connection", value: 45, unit: "KiB", document: performance, quote: "| memory of an idle connection, by the server's resident memory | 45 KiB |"}
	sinkRate   = figure{what: "rows into ClickHouse, sink and engine on two cores", value: 0.9, unit: "M/s", document: analytics, quote: "| on a disk with ext4, three runs | 0.9 to 1.45 M |"}
	rowBytes   = figure{what: "ClickHouse, all tables", value: 7.6, unit: "bytes an event", document: analytics, quote: "an event 7.6 bytes in all tables"}
	election   = figure{what: "election of a partition's leader, at most", value: 9, unit: "s", document: cluster, quote: "4 to 9 s, which cannot be set"}
)

var measured = []figure{logBytes, stateBytes, serverCPU, growthCPU, foldCPU, compactCPU, checkCPU, decodeCPU, collectCPU, brokerCPU, clusterCPU, replayRate, connection, sinkRate, rowBytes, election}

// What is assumed.
var (
	receiptsADay = figure{what: "receipts of a user in a day", value: 40, reason: "half of the users are active, each is delivered and reads 40 messages"}
	peakFactor   = figure{what: "peak second against the mean of the day", value: 5, reason: "evening hour 3 times the mean, bursts on top"}
	online       = figure{what: "users connected at peak", value: 10, unit: "%", reason: "counts only where clients use the SDK's protocol"}
	logDays      = figure{what: "days that the log keeps", value: 7, reason: "`--retain-age`, with ClickHouse behind it"}
	stateDays    = figure{what: "days of receipts in state and ClickHouse", value: 365, reason: "the state lets nothing go; so this is how much a year adds"}
	nodeCores    = figure{what: "processors of a node", value: 16, reason: "a usual machine; those measured on, as fast"}
	nodeMemory   = figure{what: "memory of a node", value: 64, unit: "GiB", reason: "the same; half of it for connections"}
	nodeDisk     = figure{what: "disk of a node, broker or ClickHouse server", value: 15, unit: "TB", reason: "two NVMe disks; filled to 70 %"}
	busy         = figure{what: "share of processors planned for at peak", value: 50, unit: "%", reason: "the rest catches up, and bears a node that is away"}
	replicas     = figure{what: "replicas of the log, copies of a fold", value: 3, reason: "one may be away while another one fails"}
	clickCopies  = figure{what: "replicas of a ClickHouse shard", value: 2, reason: "the log is behind it for a week"}
	lagBound     = figure{what: "bound of the lag of answers", value: 1, unit: "s", reason: "what the simulation holds plans against"}
)

var assumed = []figure{receiptsADay, peakFactor, online, logDays, stateDays, nodeCores, nodeMemory, nodeDisk, busy, replicas, clickCopies, lagBound}

// cost is the processor time of a million receipts in one place, in seconds, with a year of
// receipts in the state.
type cost struct{ edge, copy, broker float64 }

// costOf splits what was measured of one process into what an edge does once and a copy does once
// for each copy. What three nodes took beyond an edge and three copies is the brokers', a third of
// it each: replication costs far more than the one server in a process. A larger state costs more:
// by growthCPU for each hundredfold, which is measured from one million receipts to a hundred
// million and assumed beyond.
func costOf(receipts float64) cost {
	following := foldCPU.value + compactCPU.value + checkCPU.value + decodeCPU.value + collectCPU.value
	growth := math.Pow(growthCPU.value, max(0, math.Log(receipts/100e6)/math.Log(100)))
	edge := serverCPU.value - following - brokerCPU.value
	return cost{edge: edge, copy: following * growth, broker: (clusterCPU.value-edge)/replicas.value - following/growthCPU.value}
}

// foldRate is how many receipts a second one partition's fold takes at most: it is one goroutine.
// Two partitions were measured together.
func foldRate(receipts float64) float64 {
	return replayRate.value * 1e6 / 2 * costOf(100e6).copy / costOf(receipts).copy
}

// A plan is what so many users take.
type plan struct {
	users                           float64
	day, mean, peak                 float64 // receipts
	logDay, logKept                 float64 // bytes; logKept with all replicas
	stateYear, clickYear            float64 // bytes; of one copy, and with all replicas
	partitions, copies              int
	cost                            cost
	edgeCores, copyCores            float64 // processors at peak; of one copy
	brokerCores                     float64 // of all brokers
	forProcessors, forDisks         int     // nodes
	forConnections, nodes           int
	brokers, brokersForDisks        int
	shards, shardsForRows           int
	shardsForDisks, clickhouseNodes int
}

// planFor computes a plan.
func planFor(users float64) plan {
	const terabyte = 1e12
	p := plan{users: users, day: users * receiptsADay.value}
	p.mean = p.day / 86400
	p.peak = p.mean * peakFactor.value
	p.logDay = p.day * logBytes.value
	p.logKept = p.logDay * logDays.value * replicas.value
	year := p.day * stateDays.value
	p.stateYear, p.clickYear = year*stateBytes.value, year*rowBytes.value*clickCopies.value
	p.cost = costOf(year)
	p.edgeCores, p.copyCores = p.peak/1e6*p.cost.edge, p.peak/1e6*p.cost.copy
	p.brokerCores = p.peak / 1e6 * p.cost.broker * replicas.value
	room := nodeDisk.value * terabyte * 0.7
	usable := nodeCores.value * busy.value / 100
	p.forProcessors = ceil((p.edgeCores + replicas.value*p.copyCores) / usable)
	p.forDisks = ceil(replicas.value * p.stateYear / room)
	p.forConnections = ceil(users * online.value / 100 * connection.value * 1024 / (nodeMemory.value / 2 * (1 << 30)))
	p.copies = int(replicas.value)
	// One more than it takes, so that one may be away; and as many as there are copies.
	p.nodes = max(p.copies, p.forProcessors+1, p.forDisks+1)
	// A fold is to be busy for a quarter of its time at most, and the copies are to spread evenly.
	p.partitions = 2
	for p.peak/float64(p.partitions) > foldRate(year)/4 || p.partitions < 2*p.nodes && p.nodes > p.copies {
		p.partitions *= 2
	}
	p.brokersForDisks = ceil(p.logKept / room)
	p.brokers = max(3, p.brokersForDisks, ceil(p.brokerCores/usable))
	p.shardsForRows = ceil(p.peak / (sinkRate.value * 1e6 * busy.value / 100))
	p.shardsForDisks = ceil(p.clickYear / clickCopies.value / room)
	p.shards = max(p.shardsForRows, p.shardsForDisks)
	p.clickhouseNodes = p.shards * int(clickCopies.value)
	return p
}

func ceil(x float64) int { return int(math.Ceil(x)) }
