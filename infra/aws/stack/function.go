package stack

import (
	"maps"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
)

// functionProps describe a Lambda function.
type functionProps struct {
	// name is what it is called after the deployment's name, and its role too.
	name        string
	description string
	code        awslambda.Code
	seconds     int
	memoryMB    int
	environment map[string]*string
	permissions []permission
	// everyMinutes is how often a function of ticks is invoked; 0 for every minute.
	everyMinutes int
	// failed takes the asynchronous invocations that failed; they are not tried again. nil: there are none.
	failed awssqs.IQueue
}

// function is a Lambda function with its log.
type function struct {
	lambda awslambda.Function
	log    awslogs.CfnLogGroup
}

// newFunction makes a Lambda function with a role and a log group of its own.
func newFunction(scope constructs.Construct, n names, p functionProps) function {
	name := n.of(p.name)
	log := awslogs.NewCfnLogGroup(scope, text("Log"), &awslogs.CfnLogGroupProps{
		LogGroupName: text("/" + n.d.Name + "/" + p.name), RetentionInDays: number(n.d.LogDays),
	})
	environment := map[string]*string{"KEYTURN_VERSION": text(n.d.MadeFrom())}
	maps.Copy(environment, p.environment)
	permissions := slices.Concat(p.permissions, []permission{
		allowOn(log.AttrArn(), "logs:CreateLogStream logs:PutLogEvents"),
		allow("xray:PutTelemetryRecords xray:PutTraceSegments", "*").because("X-Ray has no resources to name."),
	})
	if p.failed != nil {
		permissions = append(permissions, allowOn(p.failed.QueueArn(), "sqs:SendMessage"))
	}
	made := awslambda.NewFunction(scope, text("Function"), &awslambda.FunctionProps{
		FunctionName: text(name), Description: text(p.description),
		Runtime: awslambda.Runtime_PROVIDED_AL2023(), Architecture: awslambda.Architecture_ARM_64(), Handler: text("bootstrap"), Code: p.code,
		Timeout: seconds(p.seconds), MemorySize: number(p.memoryMB), Tracing: awslambda.Tracing_ACTIVE, Environment: &environment,
		LogGroup: awslogs.LogGroup_FromLogGroupName(scope, text("LogOfFunction"), log.Ref()),
		Role:     newRole(scope, "Role", name, p.description, awsiam.NewServicePrincipal(text("lambda.amazonaws.com"), nil), permissions...),
	})
	if p.failed != nil {
		awslambda.NewCfnEventInvokeConfig(scope, text("Async"), &awslambda.CfnEventInvokeConfigProps{
			FunctionName: made.FunctionName(), Qualifier: text("$LATEST"), MaximumRetryAttempts: number(0), MaximumEventAgeInSeconds: number(60),
			DestinationConfig: &awslambda.CfnEventInvokeConfig_DestinationConfigProperty{
				OnFailure: &awslambda.CfnEventInvokeConfig_OnFailureProperty{Destination: p.failed.QueueArn()},
			},
		})
	}
	return function{made, log}
}

func seconds(n int) awscdk.Duration { return awscdk.Duration_Seconds(number(n)) }

func days(n int) awscdk.Duration { return awscdk.Duration_Days(number(n)) }
