package stack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/stack"
)

// elsewhere is code that needs no build.
func elsewhere(scope constructs.Construct, function string) awslambda.Code {
	id := "Code-" + function
	if found := scope.Node().TryFindChild(jsii.String(id)); found != nil {
		return awslambda.Code_FromBucketV2(found.(awss3.IBucket), jsii.String(function+".zip"), nil)
	}
	return awslambda.Code_FromBucketV2(awss3.Bucket_FromBucketName(scope, jsii.String(id), jsii.String("code")), jsii.String(function+".zip"), nil)
}

func TestFindingsOfCdkNagAreFound(t *testing.T) {
	directory := t.TempDir()
	app := awscdk.NewApp(&awscdk.AppProps{Outdir: jsii.String(directory)})
	awssqs.NewQueue(awscdk.NewStack(app, jsii.String("careless"), nil), jsii.String("Queue"), nil)
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(nil), nil)
	app.Synth(nil)
	findings, err := stack.Findings(directory)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(findings, "\n"); !strings.Contains(all, "AwsSolutions-SQS3") || !strings.Contains(all, "AwsSolutions-SQS4") {
		t.Errorf("findings about a careless queue are %q, want AwsSolutions-SQS3 and -SQS4", findings)
	}
}

var _ = deployment.Rotation
var _ = os.Stat
var _ = filepath.Join
