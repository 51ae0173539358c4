package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
)

// dashboard shows on one page whether keyturn is healthy.
func (h *hub) dashboard() {
	graph := func(title string, metrics ...awscloudwatch.IMetric) awscloudwatch.IWidget {
		return awscloudwatch.NewGraphWidget(&awscloudwatch.GraphWidgetProps{Title: text(title), Width: number(8), Left: &metrics})
	}
	label := func(name, statistic string, minutes int) *awscloudwatch.MetricOptions {
		o := every(statistic, minutes)
		o.Label = text(name)
		return o
	}
	var invocations, errors, durations, ages, dead []awscloudwatch.IMetric
	for _, f := range h.watched.allFunction {
		invocations = append(invocations, f.it.lambda.MetricInvocations(label(f.name, "Sum", 5)))
		errors = append(errors, f.it.lambda.MetricErrors(label(f.name, "Sum", 5)), f.it.lambda.MetricThrottles(label(f.name+" throttled", "Sum", 5)))
		durations = append(durations, f.it.lambda.MetricDuration(label(f.name, "Maximum", 5)))
	}
	for _, q := range h.watched.inboxes {
		ages = append(ages, q.it.queue.MetricApproximateAgeOfOldestMessage(label(q.name, "Maximum", 1)))
	}
	for _, q := range h.watched.dead {
		dead = append(dead, q.it.MetricApproximateNumberOfMessagesVisible(label(q.name, "Maximum", 1)))
	}
	dashboard := awscloudwatch.NewDashboard(h.stack, text("Dashboard"), &awscloudwatch.DashboardProps{DashboardName: text(h.d.Name)})
	dashboard.AddWidgets(
		graph("Seconds from an event to its alert", h.metric(eventToAlert, "Maximum", 5, nil)),
		graph("Age of the oldest open re-encryption (s)", h.metric(oldestOpen, "Maximum", 60, nil)),
		graph("Published to the topics", h.alerts.MetricNumberOfMessagesPublished(label("alerts", "Sum", 5)),
			h.operations.MetricNumberOfMessagesPublished(label("operations", "Sum", 5))))
	dashboard.AddWidgets(graph("Oldest message in the queues (s)", ages...), graph("Dead letters", dead...), graph("Errors and throttles", errors...))
	dashboard.AddWidgets(graph("Invocations", invocations...), graph("Longest duration (ms)", durations...),
		graph("Ledger: throttled requests", h.table.MetricThrottledRequestsForOperations(nil)))
}
