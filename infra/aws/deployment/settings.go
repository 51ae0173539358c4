package deployment

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/config"
)

// The functions, by their folders.
const (
	Rotation   = "rotation"
	Alerting   = "alerting"
	Notify     = "notify"
	TrailCheck = "trailcheck"
	Compliance = "compliance"
)

// readers says which functions read a setting that an owner may choose. All others follow from the deployment.
var readers = map[string][]string{
	"KEYTURN_SETTLE":            {Rotation},
	"KEYTURN_CONFIRM":           {Rotation},
	"KEYTURN_IN_FLIGHT":         {Rotation},
	"KEYTURN_SWEEP_EVERY":       {Rotation},
	"KEYTURN_CONCURRENCY":       {Rotation},
	"KEYTURN_POLL":              {Rotation},
	"KEYTURN_GRACE":             {Rotation},
	"KEYTURN_ENRICH":            {Alerting},
	"KEYTURN_RECHECK_EVERY":     {Alerting},
	"KEYTURN_HEALTHY_FOR":       {Alerting},
	"KEYTURN_REPAIR_AFTER":      {Alerting},
	"KEYTURN_CLOUD_API_VERSION": {Rotation, Alerting, Compliance},
	"KEYTURN_COMPLIANCE_AT":     {Compliance},
	"KEYTURN_RUNBOOKS":          {Notify},
	"KEYTURN_LOG_LEVEL":         {Rotation, Alerting, Notify, Compliance},
}

// Settings are the names of all settings that an owner may choose.
func Settings() []string { return sorted(readers) }

// Variables are the names of all that functions read: what an owner may choose, and what follows from the deployment.
func Variables() []string { return slices.Concat(Settings(), ownSettings) }

// FunctionSettings are the chosen settings that a function reads.
func (d Deployment) FunctionSettings(function string) map[string]string {
	chosen := map[string]string{}
	for name, value := range d.Settings {
		if slices.Contains(readers[name], function) {
			chosen[name] = value
		}
	}
	return chosen
}

// checkValues applies the functions' own rules to the chosen settings.
func (v *validation) checkValues(settings map[string]string) {
	var environ []string
	for _, name := range sorted(settings) {
		environ = append(environ, name+"="+settings[name])
	}
	// What a deployment always sets has no part in this.
	environ = append(environ, "KEYTURN_CHANNEL="+string(notify.Slack))
	all := struct {
		Rotation rotation.Settings
		Alerting alerting.Settings
		Notify   notify.Settings
		Checks   compliance.Settings
		LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
	}{Rotation: rotation.DefaultSettings(), Alerting: alerting.DefaultSettings(), Notify: notify.DefaultSettings(), Checks: compliance.DefaultSettings()}
	if err := config.Load(&all, environ); err != nil {
		for line := range strings.Lines(err.Error()) {
			line = strings.TrimSpace(line)
			name, _, _ := strings.Cut(line, " ")
			v.add("settings."+strings.TrimSuffix(name, ":"), "settings: "+line)
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
