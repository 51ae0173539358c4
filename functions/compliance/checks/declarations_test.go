package checks

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestValidate_reports_every_problem_at_once(t *testing.T) {
	d := Declarations{
		Thresholds:   Thresholds{CryptoperiodDays: -1, BackupFactor: -3},
		Environments: map[string]string{"c1": ""},
		Keys:         []KeyDeclaration{{Key: "nonsense"}, {Key: east, CryptoperiodDays: -1}, {Key: east}},
		OutOfScope:   []Exclusion{{Cluster: "c1"}, {Reason: "r"}},
		Exceptions: []Exception{
			{},
			{Check: "CMEK-19", Subject: "*", Owner: "Ann", Approver: " ann ", Reason: "r", Expires: now.Add(367 * oneDay)},
		},
	}
	err := d.Validate(now)
	if err == nil {
		t.Fatal("no problem")
	}
	for _, want := range []string{
		"thresholds.cryptoperiod_days is -1", "thresholds.backup_factor is -3", "leave it out for 3", `cluster "c1" has no environment`,
		"keys[0]: ", "keys[1].cryptoperiod_days", "keys[2]: " + string(east) + " is declared twice", "out_of_scope[0]", "out_of_scope[1]",
		`exceptions[0]: check ""`, "exceptions[0]: subject is missing", "exceptions[0]: owner is missing", "exceptions[0]: approver is missing",
		"exceptions[0]: reason is missing", "exceptions[0]: expires is missing",
		`exceptions[1]: check "CMEK-19" is not in the catalog`, "exceptions[1]: owner and approver are the same", "exceptions[1]: expires on 2027-12-01",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != 17 {
		t.Errorf("%d problems:\n%v", got, err)
	}
}

// A limit that is not longer than heartbeats are apart would fail always.
func TestHeartbeatLimit_is_longer_than_heartbeats_are_apart(t *testing.T) {
	for minutes, ok := range map[int]bool{0: true, 1: false, 30: false, 60: false, 61: true, 120: true} {
		if err := (Declarations{Thresholds: Thresholds{HeartbeatMinutes: minutes}}).Validate(now); (err == nil) != ok {
			t.Errorf("%d minutes: %v", minutes, err)
		}
	}
	if limit := time.Duration(defaults.HeartbeatMinutes) * time.Minute; limit < 2*cmek.HeartbeatEvery {
		t.Errorf("the default is %s, and one heartbeat may be as late as the next", limit)
	}
}

func TestValidate_accepts(t *testing.T) {
	for name, d := range map[string]Declarations{
		"nothing": {},
		"an exception of a year, and one that expired": {Exceptions: []Exception{
			{"CMEK-05", "*", "Ann", "Bob", "r", now.Add(366 * oneDay)}, {"CMEK-32", "c/r", "Ann", "Bob", "r", now.Add(-oneDay)},
		}},
		"replicas of one key": {Keys: []KeyDeclaration{{Key: east}, {Key: west}}},
	} {
		if err := d.Validate(now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate_bounds_every_limit(t *testing.T) {
	for i := range (&Thresholds{}).all() {
		for value, fine := range map[int]bool{36500: true, 36501: false} {
			var d Declarations
			*d.Thresholds.all()[i].value = value
			if err := d.Validate(now); (err == nil) != fine {
				t.Errorf("%s of %d: %v", d.Thresholds.all()[i].name, value, err)
			}
		}
	}
	for value, fine := range map[int]bool{36500: true, 36501: false} {
		d := Declarations{Keys: []KeyDeclaration{{Key: east, CryptoperiodDays: value}}}
		if err := d.Validate(now); (err == nil) != fine {
			t.Errorf("a period of %d: %v", value, err)
		}
	}
}

func TestThresholds_have_defaults(t *testing.T) {
	if got := (Thresholds{}).WithDefaults(); got != defaults {
		t.Errorf("%+v", got)
	}
	if got := (Thresholds{StuckHours: 5}).WithDefaults(); got.StuckHours != 5 || got.FollowHours != 24 {
		t.Errorf("%+v", got)
	}
	for _, one := range (&Thresholds{}).all() {
		if *one.initial <= 0 || *one.value != 0 {
			t.Errorf("%s: default %d", one.name, *one.initial)
		}
	}
}

func TestCryptoperiod_of_a_key(t *testing.T) {
	d := Declarations{Thresholds: defaults, Keys: []KeyDeclaration{{Key: east, CryptoperiodDays: 90}}}
	for uri, want := range map[cmek.KeyURI]time.Duration{east: 90 * oneDay, west: 365 * oneDay, gkey: 365 * oneDay} {
		if got := d.cryptoperiod(uri); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
}

func TestEnvironment_of_a_cluster(t *testing.T) {
	labels := map[string]string{"environment": "prod", "env": "stage"}
	for _, tt := range []struct {
		d    Declarations
		want string
	}{
		{Declarations{}, "prod"}, {Declarations{EnvironmentLabel: "env"}, "stage"}, {Declarations{EnvironmentLabel: "none"}, ""},
		{Declarations{Environments: map[string]string{"c": "dev"}}, "dev"}, {Declarations{Environments: map[string]string{"x": "dev"}}, "prod"},
	} {
		if got := tt.d.environment("c", labels); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.d, got, tt.want)
		}
	}
}
