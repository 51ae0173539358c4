package cost

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func TestTheTableIsTheGoldenFile(t *testing.T) {
	golden := filepath.Join("testdata", "table.md")
	got := Table(Defaults(), 10, 100, 1000)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the table differs from %s; look at the difference, then run go test -update\ngot:\n%s", golden, got)
	}
}

func TestTheTableIsInTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), Table(Defaults(), 10, 100, 1000)) {
		t.Error("infra/README.md does not hold the table of testdata/table.md as it is; copy it there")
	}
}

// tenClusters is worked out by hand: 30 keys, 50 policies, 2,920 sweeps of 11 requests (1.375 s) in one tick each, 2.5 rotations
// followed, 200 events, 52.5 alerts to 2 channels.
var tenClusters = map[Item]string{
	KMSRequests:        "109500",    // 2,920 × 30 + 730 × 30
	ReadUnits:          "296445",    // 43,800 + 2,920 × (1 + 3 + 20 + 50) + 730 × 50 + 2.5 × 13 × 2
	WriteUnits:         "103090",    // 2,920 × 3 × 3 + 730 × 10 × 2 × 6 / 24 + 730 × 50 × 2 + 2.5 × 8 × 8
	TableStorage:       "0.00016",   // 10 × 16 KB
	TableRecovery:      "0.00016",   //
	LambdaRequests:     "87905",     // 87,600 + 200 + 105
	LambdaDuration:     "1951.25",   // (2,190 s + 2,920 × 1.375 s + 200 × 2 s) × 256 MB + (2,190 s + 105 × 2 s) × 128 MB
	Alarms:             "30",        //
	Metrics:            "4",         //
	Dashboards:         "1",         //
	LogIngestion:       "0.087905",  // 87,905 × 1 KB
	LogStorage:         "0.263715",  // for 3 months
	QueueRequests:      "2628915",   // 4 × 657,000 + 305 × 3
	Secrets:            "3",         //
	SecretReads:        "2920",      // 4 × 730
	Traces:             "87905",     //
	ForwardedEvents:    "200",       //
	Schedules:          "87600",     //
	InternetTransfer:   "0.03212",   // 2,920 × 11 × 1 KB
	RegionTransfer:     "0.1460",    // 109,500 × 2 KB × 2 / 3
	ArchiveWrites:      "6.6666667", // 2.5 + 50 / 12
	ArchiveStorage:     "0.00013",   // 2.5 × 4 KB × 13
	Notifications:      "52.5",      //
	EMailNotifications: "52.5",      //
	KMSKeys:            "1",         //
}

func TestTenClustersUseWhatIsWorkedOutByHand(t *testing.T) {
	for _, line := range Usage(10, Defaults()) {
		want := tenClusters[line.Item]
		decimals := 0
		if _, fraction, ok := strings.Cut(want, "."); ok {
			decimals = len(fraction)
		}
		if got := line.Units.FloatString(decimals); got != want {
			t.Errorf("%s: %s units, want %s", line.Item, got, want)
		}
	}
}

func TestTenClustersCostWhatIsWorkedOutByHand(t *testing.T) {
	want := map[string]int64{
		"KMS":             33,  // 0.3285
		"DynamoDB":        10,  // 0.0370538 + 0.0644188 + 0.0000720
		"Lambda":          4,   // 0.017581 + 0.0260168
		"CloudWatch":      725, // 3 + 1.20 + 3 + 0.0439525 + 0.0079115
		"SQS":             105, // 1.051566
		"Secrets Manager": 121, // 1.20 + 0.0146
		"X-Ray":           44,  // 0.439525
		"EventBridge":     9,   // 0.0002 + 0.0876
		"Data transfer":   1,   // 0.0028908 + 0.00292
		"S3":              0,   // 0.0000363
		"SNS":             0,   // 0.0010763
	}
	got := Bill(10, Defaults())
	if !maps.Equal(got.Services, want) {
		t.Errorf("cents for each service: %v, want %v", got.Services, want)
	}
	if got.Total != 1052 || got.Optional != 100 {
		t.Errorf("total %d cents and %d for what is optional, want 1052 and 100", got.Total, got.Optional)
	}
}

func TestSharedKeysAreNotAssumedButFewerRegionsCostLess(t *testing.T) {
	one := Defaults()
	one.RegionsPerCluster = 1
	if three, one := Bill(1000, Defaults()), Bill(1000, one); one.Services["KMS"]*3 != three.Services["KMS"] {
		t.Errorf("KMS costs %d cents with one region and %d with three, want a third", one.Services["KMS"], three.Services["KMS"])
	}
}

func TestAFleetThatTakesLongerThanASweepIsSweptWithoutAPause(t *testing.T) {
	const clusters = 100_000
	for _, line := range Usage(clusters, Defaults()) {
		// A sweep of more than 100,000 requests at 8/s takes hours; a month has no room for 2,920 of them.
		if line.Item == InternetTransfer && line.Units.FloatString(3) != "21.024" {
			t.Errorf("the Cloud API is sent %s GB a month, want 8 requests/s of 1 KB: 21.024 GB", line.Units.FloatString(3))
		}
	}
}

func TestEveryItemHasOnePriceWithSourceAndDateAndEveryPriceIsUsed(t *testing.T) {
	used := map[Item]bool{}
	for _, line := range Usage(1, Defaults()) {
		if used[line.Item] {
			t.Errorf("%s: used twice", line.Item)
		}
		used[line.Item] = true
	}
	for _, p := range Prices {
		if !used[p.Item] {
			t.Errorf("%s: priced twice or not used", p.Item)
		}
		delete(used, p.Item)
		if p.each().Sign() <= 0 || p.Unit == "" || p.Service == "" || p.Source == "" {
			t.Errorf("%s: a price needs a service, an amount, a unit and a source: %+v", p.Item, p)
		}
		if _, err := time.Parse(time.DateOnly, p.AsOf); err != nil {
			t.Errorf("%s: the date is %q: %v", p.Item, p.AsOf, err)
		}
		if p.Unverified != strings.HasPrefix(p.Source, notVerified) {
			t.Errorf("%s: the source says %q, but Unverified is %v", p.Item, p.Source, p.Unverified)
		}
	}
	for item := range used {
		t.Errorf("%s: no price", item)
	}
}

func TestTheTableAddsUp(t *testing.T) {
	for _, n := range []int{10, 100, 1000} {
		bill := Bill(n, Defaults())
		var total int64
		for _, cents := range bill.Services {
			total += cents
		}
		if total != bill.Total {
			t.Errorf("%d clusters: the services cost %d cents, the total says %d", n, total, bill.Total)
		}
	}
}
