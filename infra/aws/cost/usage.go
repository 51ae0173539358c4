package cost

import "math/big"

// Assumptions are what the use of AWS depends on besides the number of clusters.
type Assumptions struct {
	// RegionsPerCluster is the number of regions of a cluster, at least one. Each has a KMS key of its own, which no other
	// cluster uses: the dearest case, since a sweep reads a key once however many clusters use it.
	RegionsPerCluster int
	// RotationsPerYear is how often each key is rotated.
	RotationsPerYear int
	// EventsPerCluster is the number of risky or failed calls a month, for each cluster, that reach alerting.
	EventsPerCluster int
	// AlertsPerMonth are sent in addition to one for each rotation that was followed.
	AlertsPerMonth int
	// Channels are Slack, PagerDuty or webhooks, each with a function, a queue and a secret.
	Channels int
	// Alarms, CustomMetrics (from metric filters) and Dashboards are those of the infrastructure.
	Alarms, CustomMetrics, Dashboards int
	// LogMonths and ArchiveMonths are how long logs and evidence are kept.
	LogMonths, ArchiveMonths int
}

// Defaults are the assumptions behind the published table.
func Defaults() Assumptions {
	return Assumptions{RegionsPerCluster: 3, RotationsPerYear: 1, EventsPerCluster: 20, AlertsPerMonth: 50, Channels: 2,
		Alarms: 30, CustomMetrics: 4, Dashboards: 1, LogMonths: 3, ArchiveMonths: 13}
}

// A month has 730 hours, as in AWS's own calculator. Rotation and alerting tick every minute, a sweep begins every 15.
const (
	hours   = 730
	minutes = hours * 60
	seconds = minutes * 60

	tickingFunctions = 2
	sweepSeconds     = 15 * 60
)

// What a sweep does. The package's tests measure all of it with the function itself, except the sizes of real policies.
const (
	cloudRequestsPerSecond = 8
	clustersPerPage        = 100
	tickSeconds            = 55
	// kmsReadsPerKey is DescribeKey, once for each sweep: a key whose version is followed everywhere is asked no more.
	// GetKeyPolicy comes once an hour. IAM and STS cost nothing.
	kmsReadsPerKey = 1
	// itemReads is how often a sweep reads a cluster's item: once to see it, once to swap it. It writes it twice a day only.
	itemReads        = 2
	itemWritesPerDay = 2
	// Besides the policy of each key, the trust policy and the other policies of the cluster's role are kept. A sweep reads
	// each from the ledger; once an hour it reads it again and writes it.
	policiesPerRole = 2
	// A rotation that is followed reads the ledger and writes the item of its cluster this often, and leaves one record in the
	// archive and one alert.
	rotationReads  = 13
	rotationWrites = 8
)

// Sizes, which decide how many units a read (4 KB) or a write (1 KB) of the table takes. A change of an item's due time
// rewrites its entry in the index, which takes two more units to write.
const (
	itemWriteUnits   = 4 // a cluster of three regions with nothing open: up to 4 KB
	openReadUnits    = 2 // with work open: up to 6 KB
	openWriteUnits   = 6
	policyWriteUnits = 2 // a policy of up to 2 KB
	workerWriteUnits = 1
	indexWriteUnits  = 2
	bytesPerCluster  = 16_000 // its item, its policies, and the edges from its keys
)

// What the rest of AWS is asked for.
const (
	// Lambda long-polls a queue with five pollers, and with no fewer when the mapping limits its concurrency, as ours do
	// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html). Each is taken to wait the longest time that SQS offers.
	pollers          = 5
	pollSeconds      = 20
	requestsPerQueue = seconds / pollSeconds * pollers
	// A message is sent, received and deleted.
	requestsPerMessage = 3

	// The functions that do the work, rotation's tick and alerting's events, have the larger memory.
	largeMB = 256
	smallMB = 128

	idleTickMilliseconds = 50
	eventMilliseconds    = 2_000
	// Behind each queue is a function with a secret, or one whose tick has it. Each start of one reads it.
	startsPerDay = 24

	logBytesPerInvocation = 1_000
	cloudRequestBytes     = 1_000
	kmsRequestBytes       = 2_000
	evidenceBytes         = 4_000
)

// Line is a number of units a month. Optional lines are for what an owner may add.
type Line struct {
	Item     Item
	Units    *big.Rat
	Optional bool
}

// Usage is what so many clusters make keyturn use in a month.
func Usage(clusters int, a Assumptions) []Line {
	n, keysEach := int64(clusters), int64(a.RegionsPerCluster)
	keys := n * keysEach
	policies := keys + n*policiesPerRole

	// A sweep reads each page of the list, once more for each tick that ends within one, and each cluster's CMEK. A fleet that
	// takes longer than a sweep's time is swept without a pause.
	pages := ceil(n, clustersPerPage)
	ticks := ceil(pages+n, cloudRequestsPerSecond*tickSeconds)
	pages += ticks - 1
	cloudRequests := pages + n
	sweepTime := ratio(cloudRequests, cloudRequestsPerSecond)
	sweeps := ratio(seconds, sweepSeconds)
	if sweepTime.Cmp(ratio(sweepSeconds, 1)) > 0 {
		sweeps = new(big.Rat).Quo(ratio(seconds, 1), sweepTime)
	}
	followed := ratio(keys*int64(a.RotationsPerYear), 12)

	reads := sum(
		// An idle tick is one query of the index, eventually consistent.
		ratio(tickingFunctions*minutes, 2),
		// A sweep asks the index again after each page. What is found, in each tick and for each page, is read consistently;
		// so is the lease.
		times(sweeps, ratio(pages+1, 2)),
		times(sweeps, ratio(2*ticks+pages, 1)),
		times(sweeps, ratio(n*itemReads+policies, 1)),
		ratio(hours*policies, 1),
		times(followed, ratio(rotationReads*openReadUnits, 1)),
	)
	writes := sum(
		// The lease is taken and given back in each tick, and the place is kept after each page.
		times(sweeps, ratio((2*ticks+pages)*(workerWriteUnits+indexWriteUnits), 1)),
		ratio(hours*n*itemWritesPerDay*(itemWriteUnits+indexWriteUnits), 24),
		ratio(hours*policies*policyWriteUnits, 1),
		times(followed, ratio(rotationWrites*(openWriteUnits+indexWriteUnits), 1)),
	)

	events := ratio(n*int64(a.EventsPerCluster), 1)
	alerts := sum(followed, ratio(int64(a.AlertsPerMonth), 1))
	messages := times(alerts, ratio(int64(a.Channels), 1))
	invocations := sum(ratio(tickingFunctions*minutes, 1), events, messages)
	idle, busy := ratio(minutes*idleTickMilliseconds, 1_000), ratio(eventMilliseconds, 1_000)
	gigabyteSeconds := sum(
		times(sum(idle, times(sweeps, sweepTime), times(events, busy)), ratio(largeMB, 1024)),
		times(sum(idle, times(messages, busy)), ratio(smallMB, 1024)),
	)
	kmsRequests := sum(times(sweeps, ratio(keys*kmsReadsPerKey, 1)), ratio(hours*keys, 1))
	logs := gigabytes(invocations, logBytesPerInvocation)
	stored := ratio(n*bytesPerCluster, 1_000_000_000)
	queues := int64(tickingFunctions + a.Channels)

	return []Line{
		{Item: KMSRequests, Units: kmsRequests},
		{Item: ReadUnits, Units: reads},
		{Item: WriteUnits, Units: writes},
		{Item: TableStorage, Units: stored},
		{Item: TableRecovery, Units: stored},
		{Item: LambdaRequests, Units: invocations},
		{Item: LambdaDuration, Units: gigabyteSeconds},
		{Item: Alarms, Units: ratio(int64(a.Alarms), 1)},
		{Item: Metrics, Units: ratio(int64(a.CustomMetrics), 1)},
		{Item: Dashboards, Units: ratio(int64(a.Dashboards), 1)},
		{Item: LogIngestion, Units: logs},
		{Item: LogStorage, Units: times(logs, ratio(int64(a.LogMonths), 1))},
		{Item: QueueRequests, Units: sum(ratio(queues*requestsPerQueue, 1), times(sum(events, messages), ratio(requestsPerMessage, 1)))},
		{Item: Secrets, Units: ratio(int64(1+a.Channels), 1)},
		{Item: SecretReads, Units: ratio(queues*startsPerDay*hours, 24)},
		{Item: Traces, Units: invocations},
		{Item: ForwardedEvents, Units: events},
		{Item: Schedules, Units: ratio(tickingFunctions*minutes, 1)},
		{Item: InternetTransfer, Units: gigabytes(times(sweeps, ratio(cloudRequests, 1)), cloudRequestBytes)},
		// One of a cluster's regions is keyturn's own.
		{Item: RegionTransfer, Units: times(gigabytes(kmsRequests, kmsRequestBytes), ratio(keysEach-1, keysEach))},
		{Item: ArchiveWrites, Units: sum(followed, ratio(policies, 12))},
		{Item: ArchiveStorage, Units: times(gigabytes(followed, evidenceBytes), ratio(int64(a.ArchiveMonths), 1))},
		{Item: Notifications, Units: alerts},
		{Item: EMailNotifications, Units: alerts},
		{Item: KMSKeys, Units: ratio(1, 1), Optional: true},
	}
}

func ratio(a, b int64) *big.Rat { return big.NewRat(a, b) }

func times(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }

func sum(terms ...*big.Rat) *big.Rat {
	total := new(big.Rat)
	for _, t := range terms {
		total.Add(total, t)
	}
	return total
}

// gigabytes is the size of so many things of so many bytes.
func gigabytes(count *big.Rat, bytes int64) *big.Rat {
	return times(count, ratio(bytes, 1_000_000_000))
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }
