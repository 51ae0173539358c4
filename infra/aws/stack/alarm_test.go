package stack_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cmek"
)

// watchers describes every alarm and every metric that is made of a log, a line or two each.
func watchers(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(templates(t))) {
		made := templates(t)[name]
		var lines []string
		for _, id := range made.of("AWS::CloudWatch::Alarm") {
			a := made.Resources[id]
			metric, statistic, period, expression := a.Properties, a.property("Statistic"), a.property("Period"), ""
			if queries := list(a.property("Metrics")); len(queries) == 2 {
				stat := resource{Properties: queries[1].(map[string]any)}
				metric, statistic, period = stat.property("MetricStat", "Metric").(map[string]any), stat.property("MetricStat", "Stat"), stat.property("MetricStat", "Period")
				expression = fmt.Sprintf(" by %v", queries[0].(map[string]any)["Expression"])
			}
			lines = append(lines, fmt.Sprintf("alarm %s\n    %s of %s/%s%s in %v s%s %s %v, %v times of %v; no data: %s", a.property("AlarmName"), statistic,
				metric["Namespace"], metric["MetricName"], dimensions(metric["Dimensions"]), period, expression,
				a.property("ComparisonOperator"), a.property("Threshold"), a.property("DatapointsToAlarm"), a.property("EvaluationPeriods"), a.property("TreatMissingData")))
		}
		for _, id := range made.of("AWS::Logs::MetricFilter") {
			f := made.Resources[id]
			m := list(f.property("MetricTransformations"))[0].(map[string]any)
			lines = append(lines, fmt.Sprintf("metric %v/%v%s\n    %v of lines of %s with %v", m["MetricNamespace"], m["MetricName"], dimensions(m["Dimensions"]),
				m["MetricValue"], arn(f.property("LogGroupName")), f.property("FilterPattern")))
		}
		if slices.Sort(lines); len(lines) > 0 {
			fmt.Fprintf(&text, "# %s\n\n%s\n\n", name, strings.Join(lines, "\n"))
		}
	}
	return text.String()
}

func dimensions(value any) string {
	var pairs []string
	for _, d := range list(value) {
		if d, ok := d.(map[string]any); ok {
			if d["Key"] != nil {
				d = map[string]any{"Name": d["Key"], "Value": d["Value"]}
			}
			pairs = append(pairs, fmt.Sprintf("%v=%s", d["Name"], arn(d["Value"])))
		}
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func TestTheAlarmsAreThoseOfTheGoldenFile(t *testing.T) {
	const golden = "testdata/alarms.txt"
	got := watchers(t)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("the alarms differ from %s (%v); they are now\n%s", golden, err, got)
	}
}

func TestAlertingKnowsWhatIsKeyturnsOwn(t *testing.T) {
	for _, id := range hub(t).of("AWS::Lambda::Function") {
		f := hub(t).Resources[id]
		if !strings.HasPrefix(f.property("FunctionName").(string), "keyturn-alerting-") {
			continue
		}
		variable := func(name string) string { v, _ := f.property("Environment", "Variables", name).(string); return v }
		list := variable("KEYTURN_OWN_ROLES")
		own := func(account string) []string { return cmek.ExpandNames(strings.ReplaceAll(list, "{account}", account)) }
		for name, made := range templates(t) {
			account := "111122223333" // the hub's
			if strings.HasPrefix(name, "keyturn-spoke-444455556666") {
				account = "444455556666"
			}
			for _, r := range made.of("AWS::IAM::Role") {
				role := made.Resources[r].property("RoleName").(string)
				arn := "arn:aws:iam::" + account + ":role/" + role
				if clusters := strings.HasSuffix(role, "-cmek"); slices.Contains(own(account), arn) == clusters {
					t.Errorf("%s takes role %s for keyturn's own: %t", id, arn, clusters)
				}
			}
		}
		// Only the functions' roles have an account, which is the hub's: nobody else may assume the others.
		for _, arn := range own("") {
			if function := regexp.MustCompile(`^arn:aws:iam::111122223333:role/keyturn-((rotation|alerting)-(event|tick)|compliance)$`).MatchString(arn); !function && !strings.HasPrefix(arn, "arn:aws:iam:::role/keyturn-") {
				t.Errorf("%s lets %s assume keyturn's roles", id, arn)
			}
		}
		heartbeat := templates(t)["keyturn-spoke-111122223333-us-east-1"]
		schedule := heartbeat.Resources[heartbeat.of("AWS::Scheduler::Schedule")[0]]
		by := heartbeat.Resources[schedule.property("Target", "RoleArn", "Fn::GetAtt").([]any)[0].(string)]
		if want := fmt.Sprint("arn:aws:iam::{account}:role/", by.property("RoleName")); strings.ReplaceAll(variable("KEYTURN_HEARTBEAT_ROLE"), "{region}", "us-east-1") != want {
			t.Errorf("%s takes role %q for the heartbeat's, want %q", id, variable("KEYTURN_HEARTBEAT_ROLE"), want)
		}
		resources := f.property("Environment", "Variables", "KEYTURN_OWN_RESOURCES", "Fn::Join").([]any)[1].([]any)
		table := hub(t).of("AWS::DynamoDB::Table")[0]
		if ref := fmt.Sprint(resources[1]); ref != "map[Ref:"+table+"]" || !strings.HasPrefix("keyturn-hub-"+table, full(t).Own(full(t).Accounts[0], "us-east-1").Table) {
			t.Errorf("%s takes %v for keyturn's own, want the table %s at the end", id, resources, table)
		}
		if got, want := cmek.ExpandNames(resources[0].(string)), made(t); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("%s takes for keyturn's own\n%q\nwant\n%q", id, got, want)
		}
	}
}

// watchedKinds are the resources that watch over everything else, with the property that names them.
var watchedKinds = map[string]string{
	"AWS::Events::Rule": "Name", "AWS::Lambda::Function": "FunctionName", "AWS::CloudWatch::Alarm": "AlarmName", "AWS::SNS::Topic": "TopicName",
	"AWS::Scheduler::Schedule": "Name", "AWS::SecretsManager::Secret": "Name", "AWS::Events::EventBus": "Name", "AWS::SQS::Queue": "QueueName",
}

// made are the names of all such resources of the deployment, those of clusters' roles apart.
func made(t *testing.T) (names []string) {
	t.Helper()
	for _, made := range templates(t) {
		for _, r := range made.Resources {
			if field := watchedKinds[r.Type]; field != "" {
				name, ok := r.property(field).(string)
				if !ok {
					t.Errorf("a %s has no name of our making: %s", r.Type, compact(r.Properties))
				}
				if !strings.HasSuffix(name, "-cmek") {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestTheDeploymentKnowsWhatItMakesWhere(t *testing.T) {
	d := full(t)
	for _, a := range d.Accounts {
		for _, region := range d.WatchedRegions(a) {
			stacks := []template{templates(t)["keyturn-spoke-"+a.ID+"-"+region]}
			if (deployment.Place{Account: a.ID, Region: region}) == d.Hub {
				stacks = append(stacks, hub(t))
			}
			own := d.Own(a, region)
			for kind, names := range map[string][]string{
				"AWS::Events::Rule": own.Rules, "AWS::Lambda::Function": own.Functions, "AWS::CloudWatch::Alarm": own.Alarms,
				"AWS::SNS::Topic": own.Topics, "AWS::Scheduler::Schedule": own.Schedules, "AWS::SecretsManager::Secret": own.Secrets, "AWS::SQS::Queue": own.Queues,
			} {
				var want []string
				for _, s := range stacks {
					for _, id := range s.of(kind) {
						want = append(want, s.Resources[id].property(watchedKinds[kind]).(string))
					}
				}
				slices.Sort(want)
				if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
					t.Errorf("%s, %s: %s are taken to be\n%q\nand are\n%q", a.ID, region, kind, got, want)
				}
			}
		}
	}
}

// docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 4 KB for all variables of a function together.
func TestOwnResourcesFitIntoTheEnvironment(t *testing.T) {
	d := full(t)
	d.Name = "keyturn-of-department"
	for i := range 9 {
		d.Channels = append(d.Channels, deployment.Channel{Name: fmt.Sprintf("webhook-of-team-%02d", i), Kind: "webhook", URL: "https://example.com"})
	}
	for i, region := range []string{"ap-southeast-1", "ap-northeast-1", "eu-central-1", "eu-north-1", "sa-east-1"} {
		for n := range 60 {
			d.Accounts[0].Keys = append(d.Accounts[0].Keys, cmek.KeyURI(fmt.Sprintf("arn:aws:kms:%s:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e%02d%02d", region, i, n)))
			d.Accounts[0].Roles = append(d.Accounts[0].Roles, fmt.Sprintf("arn:aws:iam::111122223333:role/cluster-%d-%d-cmek", i, n))
		}
	}
	if n := len(d.OwnResources()); n > 2450 { // all others take less than 1,600
		t.Errorf("the names of keyturn's own resources take %d bytes:\n%s", n, d.OwnResources())
	}
}

// A line of a log that an alarm is made of is written by the function of that log, under these very names.
func TestMetricsAreMadeOfLinesThatAreLogged(t *testing.T) {
	quoted := regexp.MustCompile(`^"([^"]+)"$`)
	said := regexp.MustCompile(`\$\.msg = "([^"]+)"`)
	field := regexp.MustCompile(`\$\.([a-z_]+)`)
	for _, id := range hub(t).of("AWS::Logs::MetricFilter") {
		f := hub(t).Resources[id]
		filter := f.property("FilterPattern").(string)
		log := arn(f.property("LogGroupName")) // <alertingeventLog>
		folders := []string{"../../../internal/amazon", "../../../internal/amazon/lambda", "../../../internal/delivery"}
		for _, function := range []string{deployment.Rotation, deployment.Alerting, deployment.Compliance} {
			if strings.HasPrefix(log, "<"+function) {
				folders = append(folders, "../../../functions/"+function)
			}
		}
		source := code(t, folders...)
		if m := quoted.FindStringSubmatch(filter); m != nil { // any line with these words
			if !strings.Contains(source, m[1]) {
				t.Errorf("%s: nothing in %v says %q", id, folders, m[1])
			}
			continue
		}
		messages := said.FindAllStringSubmatch(filter, -1)
		if len(messages) == 0 {
			t.Errorf("%s: filter %q names no message", id, filter)
		}
		for _, m := range messages { // as a literal, or as a constant that the filter is made of, too
			if !regexp.MustCompile(`\.Info(?:Context)?\((?:ctx, )?"` + regexp.QuoteMeta(m[1]) + `"|\bLog\w+ += "` + regexp.QuoteMeta(m[1]) + `"`).MatchString(source) {
				t.Errorf("%s: nothing in %v logs %q", id, folders, m[1])
			}
		}
		named := filter
		for _, transformation := range list(f.property("MetricTransformations")) {
			named += compact(transformation)
		}
		for _, name := range field.FindAllStringSubmatch(named, -1) {
			if name[1] != "msg" && !strings.Contains(source, `"`+name[1]+`"`) {
				t.Errorf("%s: nothing in %v logs the field %q", id, folders, name[1])
			}
		}
	}
}

// code is the text of all files of the folders that are no tests.
func code(t *testing.T, folders ...string) string {
	t.Helper()
	var text strings.Builder
	for _, folder := range folders {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v (%v)", folder, files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(data)
		}
	}
	return text.String()
}
