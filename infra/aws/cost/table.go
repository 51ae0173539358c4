package cost

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Column is the bill of one size of fleet, in cents.
type Column struct {
	Clusters int
	// Services holds what each service costs, and Items what each thing paid for; both are rounded, so the table adds up by
	// its services.
	Services map[string]int64
	Items    map[Item]int64
	Total    int64
	// Optional is what the optional things cost, outside the total.
	Optional int64
}

// Bill is what so many clusters cost a month.
func Bill(clusters int, a Assumptions) Column {
	c := Column{Clusters: clusters, Services: map[string]int64{}, Items: map[Item]int64{}}
	exact := map[string]*big.Rat{}
	for _, line := range Usage(clusters, a) {
		price := priceOf(line.Item)
		costs := times(line.Units, price.each())
		if line.Optional {
			c.Optional += cents(costs)
			continue
		}
		c.Items[line.Item] = cents(costs)
		if exact[price.Service] == nil {
			exact[price.Service] = new(big.Rat)
		}
		exact[price.Service].Add(exact[price.Service], costs)
	}
	for service, costs := range exact {
		c.Services[service] = cents(costs)
		c.Total += c.Services[service]
	}
	return c
}

// cents rounds half up.
func cents(usd *big.Rat) int64 {
	twice := times(usd, ratio(200, 1))
	twice.Add(twice, ratio(1, 1))
	return new(big.Int).Quo(twice.Num(), new(big.Int).Mul(twice.Denom(), big.NewInt(2))).Int64()
}

// Table is the Markdown of the monthly costs of fleets of these sizes, with what it rests on.
func Table(a Assumptions, sizes ...int) string {
	var b strings.Builder
	var bills, small []Column
	oneRegion := a
	oneRegion.RegionsPerCluster = 1
	head, rule := "| USD a month, us-east-1 |", "|---|"
	for _, n := range sizes {
		bills, small = append(bills, Bill(n, a)), append(small, Bill(n, oneRegion))
		head, rule = head+" "+count(int64(n))+" clusters |", rule+"---:|"
	}
	fmt.Fprintln(&b, head)
	fmt.Fprintln(&b, rule)
	for _, service := range services(bills[len(bills)-1]) {
		fmt.Fprintf(&b, "| %s |%s\n", service, cells(bills, func(c Column) string { return atLeastACent(c.Services[service]) }))
	}
	fmt.Fprintf(&b, "| **Total** |%s\n", cells(bills, func(c Column) string { return "**" + dollars(c.Total) + "**" }))
	fmt.Fprintf(&b, "| with one region in each cluster |%s\n\n", cells(small, func(c Column) string { return dollars(c.Total) }))

	first, last := dates()
	fmt.Fprintf(&b, "Public list prices as of %s to %s, each with its source in `infra/aws/cost/prices.go`; no free tier is counted.\n", first, last)
	fmt.Fprintf(&b, "Not verified: %s. The canary key of a heartbeat costs %s more for each account that has one.\n\n",
		strings.Join(unverified(), ", "), dollars(bills[0].Optional))
	fmt.Fprintln(&b, "What drives it:")
	fmt.Fprintln(&b)
	for _, c := range bills {
		fmt.Fprintf(&b, "- %s clusters: %s.\n", count(int64(c.Clusters)), drivers(c))
	}
	fmt.Fprintf(&b, "\nAssumed:\n\n%s", assumed(a, sizes[len(sizes)-1]))
	return b.String()
}

func cells(bills []Column, cell func(Column) string) string {
	var b strings.Builder
	for _, c := range bills {
		b.WriteString(" " + cell(c) + " |")
	}
	return b.String()
}

// services are those of a bill, the dearest first.
func services(c Column) []string {
	var names []string
	for _, p := range Prices {
		if !slices.Contains(names, p.Service) {
			names = append(names, p.Service)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(c.Services[b], c.Services[a]) })
	return names
}

// drivers names the dearest things and their part of the total.
func drivers(c Column) string {
	var items []Item
	for _, p := range Prices {
		items = append(items, p.Item)
	}
	slices.SortStableFunc(items, func(a, b Item) int { return cmp.Compare(c.Items[b], c.Items[a]) })
	var parts []string
	for _, item := range items[:4] {
		parts = append(parts, fmt.Sprintf("%s %d %%", item, (200*c.Items[item]+c.Total)/(2*c.Total)))
	}
	return strings.Join(parts, ", ")
}

func assumed(a Assumptions, most int) string {
	kms := new(big.Rat)
	for _, line := range Usage(most, a) {
		if line.Item == KMSRequests {
			kms = line.Units
		}
	}
	millions := times(kms, ratio(1, 1_000_000)).FloatString(0)
	lines := []string{
		fmt.Sprintf("A month of %d hours. %d regions in each cluster, each with a key of its own, and one role for each cluster: clusters that share keys cost "+
			"less, since a sweep reads a key once. Each key is rotated %s a year.", hours, a.RegionsPerCluster, often(a.RotationsPerYear)),
		fmt.Sprintf("Rotation and alerting tick every minute (an idle tick: one query, %d ms). Every %d minutes a sweep reads each cluster once at "+
			"%d requests/s, and each key with %d call to KMS; policies once an hour. It reads each cluster's item %d times and each policy's "+
			"once, and writes an item %d times a day only.",
			idleTickMilliseconds, sweepSeconds/60, cloudRequestsPerSecond, kmsReadsPerKey, itemReads, itemWritesPerDay),
		fmt.Sprintf("Functions of %d and %d MB on arm64. %d queues, each polled by Lambda's %d pollers for %d s at a time: %s requests "+
			"a month for each idle queue.",
			smallMB, largeMB, tickingFunctions+a.Channels, pollers, pollSeconds, count(requestsPerQueue)),
		fmt.Sprintf("%d channels, %d alarms, %d custom metrics, %d dashboard; a trace of every invocation. %d events a month for each cluster, all forwarded "+
			"from other Regions; %d alerts a month and one for each rotation. Logs are kept for %d months, evidence for %d.",
			a.Channels, a.Alarms, a.CustomMetrics, a.Dashboards, a.EventsPerCluster, a.AlertsPerMonth, a.LogMonths, a.ArchiveMonths),
		fmt.Sprintf("Not counted: your keys and clusters; taxes; and what your own trails and detectors charge for recording keyturn's reads (about %s "+
			"million calls to KMS a month with %s clusters).", millions, count(int64(most))),
	}
	return "- " + strings.Join(lines, "\n- ") + "\n"
}

func often(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// dates are those of the oldest and of the newest price.
func dates() (first, last string) {
	byDate := func(a, b Price) int { return cmp.Compare(a.AsOf, b.AsOf) }
	return slices.MinFunc(Prices, byDate).AsOf, slices.MaxFunc(Prices, byDate).AsOf
}

func unverified() (items []string) {
	for _, p := range Prices {
		if p.Unverified {
			items = append(items, string(p.Item))
		}
	}
	return items
}

func atLeastACent(cents int64) string {
	if cents == 0 {
		return "< 0.01"
	}
	return dollars(cents)
}

func dollars(cents int64) string { return fmt.Sprintf("%s.%02d", count(cents/100), cents%100) }

// count writes a number with commas.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
