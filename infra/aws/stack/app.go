// Package stack is keyturn's infrastructure on AWS, as CDK stacks: one hub with the functions, a spoke in every account and
// Region that is watched, the roles of every account, and, on demand, keys ready for clusters.
package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// Code returns the code of a function, by its folder's name.
type Code func(scope constructs.Construct, function string) awslambda.Code

// NewApp makes all stacks of a deployment, to be written to the directory by Synth. cdk-nag's findings are in the result as
// errors; see [Findings].
func NewApp(d deployment.Deployment, code Code, directory string) awscdk.App {
	app := awscdk.NewApp(&awscdk.AppProps{
		Outdir:             text(directory),
		AnalyticsReporting: jsii.Bool(false),
		TreeMetadata:       jsii.Bool(false),
		// Where in this code a resource was made would differ from machine to machine.
		StackTraces: jsii.Bool(false),
	})
	hub := newHub(app, d, code)
	roles := map[string]awscdk.Stack{}
	for _, account := range d.Accounts {
		for _, region := range d.WatchedRegions(account) {
			spoke := newSpoke(app, d, account, region, code)
			// What is forwarded before the bus is there would be lost.
			spoke.AddStackDependency(hub, nil)
		}
		roles[account.ID] = newRoles(app, d, account)
	}
	for _, key := range d.CMEKKeys {
		newCMEKKeys(app, d, key, roles[key.Account])
	}
	for _, child := range *app.Node().Children() {
		if made, ok := child.(awscdk.Stack); ok {
			options := made.TemplateOptions()
			options.SetDescription(text(*options.Description() + " (" + d.MadeFrom() + ")"))
		}
	}
	for name, value := range d.Tags {
		awscdk.Tags_Of(app).Add(text(name), text(value), &awscdk.TagProps{
			ExcludeResourceTypes: texts("AWS::CloudWatch::Dashboard"), // CloudFormation's schema of it has no tags
		})
	}
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Reports: jsii.Bool(false)}), nil)
	return app
}

// props are those of a stack in the place.
func props(place deployment.Place, name, description string) *awscdk.StackProps {
	return &awscdk.StackProps{
		StackName:   text(name),
		Description: text(description),
		Env:         &awscdk.Environment{Account: text(place.Account), Region: text(place.Region)},
	}
}

func text(s string) *string { return &s }

func texts(list ...string) *[]*string { return jsii.Strings(list...) }

func number(n int) *float64 { return jsii.Number(n) }

func yes() *bool { return jsii.Bool(true) }
