package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/simulator"
)

// lambdaFunction is the kind of resource that a function is.
const lambdaFunction = "AWS::Lambda::Function"

// functionProperties are those of an AWS::Lambda::Function that the tests go by.
type functionProperties struct {
	FunctionName, Role string
	Code               struct{ S3Key string }
	Environment        struct{ Variables map[string]string }
	Timeout            int // seconds
	MemorySize         int // MB
	LoggingConfig      struct{ LogGroup string }
}

// mappingProperties are those of an AWS::Lambda::EventSourceMapping.
type mappingProperties struct {
	EventSourceArn, FunctionName string
	BatchSize                    int
	FunctionResponseTypes        []string
	ScalingConfig                struct{ MaximumConcurrency int }
}

// scheduleProperties are those of an AWS::Scheduler::Schedule.
type scheduleProperties struct {
	Name   string
	Target struct{ Arn, Input string }
}

// takeFunctions reads what is run from what was deployed.
func (a *account) takeFunctions(d deployed) {
	for _, p := range propertiesOf[functionProperties](a.t, d, lambdaFunction) {
		a.takeFunction(p)
	}
	a.feeds = propertiesOf[mappingProperties](a.t, d, "AWS::Lambda::EventSourceMapping")
	a.schedules = propertiesOf[scheduleProperties](a.t, d, "AWS::Scheduler::Schedule")
	a.filters = propertiesOf[filterProperties](a.t, d, "AWS::Logs::MetricFilter")
}

func (a *account) takeFunction(p functionProperties) {
	a.functions[strings.TrimPrefix(p.FunctionName, a.name+"-")] = p
	a.know(p.FunctionName, p.Role)
}

// function makes a deployed function with its deployed environment, completed with the addresses of the world and with
// settings that make it quick.
func (a *account) function(name string, world *simulator.World, w *wire, settings ...string) *lambda {
	a.t.Helper()
	p, ok := a.functions[name]
	if !ok {
		a.t.Fatalf("no function %s is deployed", name)
	}
	l := newLambda(a.t, strings.TrimSuffix(p.Code.S3Key, ".zip"))
	l.name, l.arn = name, functionARN(p.FunctionName)
	l.timeout = time.Duration(p.Timeout) * time.Second
	var deployed []string
	for _, variable := range slices.Sorted(maps.Keys(p.Environment.Variables)) {
		deployed = append(deployed, variable+"="+p.Environment.Variables[variable])
	}
	l.environment = slices.Concat(lambdaEnvironment(p), deployed, endpoints(world, w, l), settings)
	return l
}

func functionARN(name string) string {
	return "arn:aws:lambda:" + region + ":" + accountID + ":function:" + name
}

// lambdaEnvironment is what Lambda itself sets
// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime). The function's name serves as
// the access key, by which its calls are known.
func lambdaEnvironment(p functionProperties) []string {
	return []string{
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_ACCESS_KEY_ID=" + p.FunctionName,
		"AWS_SECRET_ACCESS_KEY=" + secretAccessKey, "AWS_SESSION_TOKEN=" + sessionToken,
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023", "AWS_LAMBDA_FUNCTION_NAME=" + p.FunctionName,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST", fmt.Sprintf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%d", p.MemorySize),
		"AWS_LAMBDA_LOG_GROUP_NAME=" + p.LoggingConfig.LogGroup, "AWS_LAMBDA_LOG_STREAM_NAME=2026/01/02/[$LATEST]0123456789abcdef",
		"TZ=:UTC", "LANG=en_US.UTF-8", "PATH=/usr/bin:/bin",
	}
}

// endpoints sends every service's calls over the wire.
func endpoints(world *simulator.World, w *wire, by *lambda) []string {
	moto := toMoto(w.t)
	return []string{
		"COCKROACH_SERVER=" + w.to("cloud", world.CloudAPI(), by),
		"AWS_ENDPOINT_URL_KMS=" + w.to("kms", world.AWSKMS(), by),
		"AWS_ENDPOINT_URL_DYNAMODB=" + w.to("dynamodb", moto, by),
		"AWS_ENDPOINT_URL_S3=" + w.to("s3", moto, by),
		"AWS_ENDPOINT_URL_SNS=" + w.to("sns", moto, by),
		"AWS_ENDPOINT_URL_IAM=" + w.to("iam", moto, by),
		"AWS_ENDPOINT_URL_CLOUDTRAIL=" + w.to("cloudtrail", cloudTrail(world, moto), by),
		"AWS_ENDPOINT_URL_EVENTBRIDGE=" + w.to("events", moto, by),
		"AWS_ENDPOINT_URL_SQS=" + w.to("sqs", moto, by),
		"AWS_ENDPOINT_URL_STS=" + w.to("sts", moto, by),
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.to("secretsmanager", moto, by),
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", // Nothing else may be called.
	}
}

// cloudTrail is moto_server's, with the event history of the simulated KMS, which moto_server does not have.
func cloudTrail(world *simulator.World, moto http.Handler) http.Handler {
	history := world.AWSCloudTrail()
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".LookupEvents") {
			history.ServeHTTP(rw, r)
			return
		}
		moto.ServeHTTP(rw, r)
	})
}

// feed makes the event source mapping that the hub has for a function.
func (a *account) feed(l *lambda) *mapping {
	a.t.Helper()
	i := slices.IndexFunc(a.feeds, func(p mappingProperties) bool { return p.FunctionName == a.name+"-"+l.name })
	if i < 0 {
		a.t.Fatalf("nothing feeds the function %s", l.name)
	}
	p := a.feeds[i]
	m := &mapping{
		t: a.t, account: a, lambda: l, batch: cmp.Or(p.BatchSize, mostMessages), concurrency: cmp.Or(p.ScalingConfig.MaximumConcurrency, 1),
		partial: slices.Contains(p.FunctionResponseTypes, "ReportBatchItemFailures"),
		queue:   a.queueNamed(p.EventSourceArn[strings.LastIndexByte(p.EventSourceArn, ':')+1+len(a.name+"-"):]),
	}
	a.hurry(m.queue)
	a.t.Cleanup(func() { l.checkLog(m.bodies) })
	return m
}

// clock is a schedule of the hub.
type clock struct {
	lambda   *lambda
	schedule scheduleProperties
	// timeout is the function's. A process that is killed holds the worker's lease for that long and a little more, so tests that
	// kill it give it less.
	timeout time.Duration
}

// clock makes the schedule that the hub has for a function.
func (a *account) clock(l *lambda) *clock {
	a.t.Helper()
	i := slices.IndexFunc(a.schedules, func(p scheduleProperties) bool { return p.Target.Arn == l.arn })
	if i < 0 {
		a.t.Fatalf("nothing ticks for the function %s", l.name)
	}
	a.t.Cleanup(func() { l.checkLog(nil) })
	return &clock{l, a.schedules[i], l.timeout}
}

// tick invokes the function as EventBridge Scheduler does
// (docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
func (c *clock) tick() error {
	payload := strings.NewReplacer(
		"<aws.scheduler.schedule-arn>", "arn:aws:scheduler:"+region+":"+accountID+":schedule/default/"+c.schedule.Name,
		"<aws.scheduler.scheduled-time>", time.Now().UTC().Format(time.RFC3339),
	).Replace(c.schedule.Target.Input)
	_, err := c.lambda.invoke([]byte(payload), c.timeout)
	return err
}

// decode reads a template's properties as what they are.
func decode(t *testing.T, properties map[string]any, into any) {
	t.Helper()
	must(t, json.Unmarshal([]byte(encode(t, properties)), into), "read properties")
}

func encode(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	must(t, err, "write JSON")
	return string(data)
}
