package e2e

import (
	"fmt"
	"strings"
)

// standIn is what the tests do themselves because moto_server cannot.
type standIn struct {
	// of is the kind of resource that is taken out of the templates; "" for what is no resource.
	of   string
	what string
	// resolved says that the tests go by the resource's properties, so moto_server is to resolve the references in them.
	resolved bool
}

// standIns is everything in which an installation under test differs from one on AWS, besides the settings that make it quick.
var standIns = []standIn{
	{"AWS::Lambda::EventSourceMapping", "moto_server would run the function in Docker; mapping feeds the binary by the mapping's own properties.", true},
	{"AWS::Scheduler::Schedule", "CloudFormation in moto_server lacks it; tick invokes the target with the schedule's own input. Of the heartbeat only the record is played that it leaves.", true},
	{"AWS::SNS::Subscription", "CloudFormation in moto_server lacks it; made by hand of the subscription's own properties. People's addresses are confirmed at once, and get nothing.", true},
	{"AWS::SecretsManager::Secret", "CloudFormation in moto_server lacks it; made by hand of the secret's own properties, and its owner stores the value.", false},
	{"AWS::S3::Bucket", "moto_server's CloudFormation forgets versions and Object Lock; made by hand of the bucket's own properties.", false},
	{"AWS::Lambda::EventInvokeConfig", "Scheduler's invocations are played, without queue and destination: a tick that fails is noted by the test.", false},
	{"AWS::Events::EventBusPolicy", "moto_server enforces no policy: the permissions are compared with the calls in calls.txt.", false},
	{"AWS::SQS::QueuePolicy", "as above", false},
	{"AWS::SNS::TopicPolicy", "as above", false},
	{"AWS::S3::BucketPolicy", "as above", false},
	{"AWS::CloudWatch::Alarm", "moto_server has no metrics to watch.", false},
	{"AWS::Logs::MetricFilter", "moto_server has no metrics to make; one test applies the filters to what the functions log.", true},
	{"Custom::KeyturnTrailCheck", "moto_server would run the function in Docker; one test plays CloudFormation.", false},
	{"", "AWS::Events::EventBus: moto_server cannot Ref it; its name is put there.", false},
	{"", "The default bus: all installations share moto_server's one account, so each has a bus of its own in each Region for its spoke's rules.", false},
	{"", "From a spoke's rule to the hub's bus: moto_server would forward without time and resources; the rule's target is a queue, of which forward puts each event on the hub's bus. There it has another id, and the hub's Region.", false},
	{"", "resources[].ARN in patterns: moto_server looks into no list of objects; on the spoke's bus the detail has a field resources.ARN with their ARNs.", false},
	{"", "What a rule's target gets: moto_server would leave out the account, and take long; the targets have an InputTransformer for the whole event.", false},
	{"", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS: moto_server ignores a rule's state; rules in any other state get a pattern that leaves out what is readOnly.", false},
}

// standInFor returns what stands in for resources of the kind.
func standInFor(kind string) (standIn, bool) {
	for _, s := range standIns {
		if s.of != "" && s.of == kind {
			return s, true
		}
	}
	return standIn{}, false
}

// printStandIns says where the tests end and AWS begins.
func printStandIns() {
	var lines strings.Builder
	for _, s := range standIns {
		if s.of != "" {
			lines.WriteString(s.of + ": ")
		}
		lines.WriteString(s.what + "\n")
	}
	fmt.Printf("In AWS's place:\n%s", lines.String())
}
