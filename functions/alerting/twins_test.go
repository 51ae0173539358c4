package alerting

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
)

// Each test of alerting runs on both clouds, or is named after the cloud that it is about, or stands here.
func TestTwins_eachTestRunsOnBothClouds(t *testing.T) {
	const (
		repair = "there is no repair on Google Cloud: alerts print the commands"
		rows   = "the judgement of this cloud's documents; the other one's is in judge_google_test.go"
		none   = "no cloud's API or document takes part"
	)
	cmektest.CheckTwins(t, ".", []string{"onBothSides"}, map[string]string{
		"repair_test.go":          repair,
		"judge_key_test.go":       rows,
		"judge_principal_test.go": rows,
		"judge_property_test.go":  rows,
		"judge_test.go":           rows,
		"judge_trust_test.go":     rows,
		"assess_test.go":          "the catalog's rows by AWS's events; versions_test.go and risk/rate_test.go have Google's",
		"lockout_test.go":         "PutKeyPolicy's lockout check, external ids and default versions are AWS's alone",
		"own_parts_test.go":       "deployments by CloudFormation and roles by ARN; Google's are in TestGoogle_ownPartsAreKnown and TestHostile_googleOwnAccounts",
		"role_test.go":            "policies attached to roles are AWS's alone; TestGoogle_rolesOfTheNewPolicyAreRead has roles of Google",
		"summary_test.go":         "words of AWS's calls; google_commands_test.go has Google's",
		"text_test.go":            "whole alerts as golden files, of each cloud",
		"pinned_test.go":          "Google Cloud has no aliases of keys",
		"readme_test.go":          none,
		"versions_test.go":        "on AWS a key has one state; tick_test.go and both_clouds_test.go have its twins",
		"operations_test.go":      "Google Cloud alone logs the beginnings of operations",
		"moved_test.go":           "Google Cloud alone has a call that both moves a project and edits its labels",
		"projects_test.go":        "names of Google's projects; an account of AWS has one",

		"TestTwins_eachTestRunsOnBothClouds": none,

		"TestAnAlertNamesTheClustersThePrincipalAndTheWayBack":                "TestSimulatedGoogle_commandsOfEachChange is its twin",
		"TestAKeyThatNobodyUsesIsRatedLowerOnlyAfterACompleteWalk":            "TestGoogle_whatIsAroundTheKey has keys that nobody uses",
		"TestTheSameEventDeliveredTwicePagesOnce":                             "addenda are CloudTrail's; TestBoth_repeatsAndLateEvents is its twin",
		"TestOurOwnDeniedReadsRaiseNoIncident":                                "reads are no events on Google Cloud",
		"TestARefusedReadThatNoClusterMadeCausesNoReadOfTheKey":               "reads are no events on Google Cloud",
		"TestAStrangerIsToldOfOnceADay":                                       "TestFlood_ofOneGooglePrincipal is its twin",
		"TestAFailedAttemptIsToldAndBreaksNothing":                            "TestBoth_failedAttemptBreaksNothing is its twin",
		"TestAnAccountIsJudgedByItsOwnClusters":                               "TestGoogle_whatIsAroundTheKey has projects",
		"TestNoAlertIsLostWhateverIsDown":                                     "TestBoth_noAlertIsLost is its twin",
		"TestAPolicyIsJudgedAgainstTheOneBeforeEvenAfterTheSweepNotedIt":      "TestJudge_googleOldNote and TestBoth_samePolicyAgain are its twins",
		"TestARoleIsWatchedByItsName":                                         "TestBoth_lostAccessResolves and TestJudge_google have service accounts",
		"TestTheNextDaysOfTheFirstClustersAreKnown":                           none,
		"TestAKeyWhoseIncidentWasClosedByHandIsNotRepairedBeforeItWasEnabled": repair,
		"TestTheRecordsOfARepairRaiseNoAlarmAndEndTheIncident":                repair,
		"TestTheRecordsOfARepairThatFailedRaiseNoAlarmAndEndNothing":          repair,
		"TestOnlyTheRepairsOwnCallsAreLeftOut":                                repair,
		"TestHostile_repairOfAKeyDisabledOnPurpose":                           repair,
		"TestAnIncidentThatCannotBeDecodedHoldsUpNoOther":                     none,
		"TestARoleThatRefusesItsClusterIsOneIncidentWithItsTrustPolicy":       "TestGoogle_whatIsAroundTheKey has refused tokens",
		"TestFlood_ofOnePrincipal":                                            "TestFlood_ofOneGooglePrincipal is its twin",
		"TestHostile_namesSilenceNothing":                                     "TestHostile_googleNamesSilenceNothing is its twin",
		"TestHostile_refusedStrangerPagesNobody":                              "TestHostile_googleRefusedStrangerPagesNobody is its twin",
		"TestHostile_ownRoleNames":                                            "TestHostile_googleOwnAccounts is its twin",
		"TestHostile_ownRolesChanged":                                         "TestHostile_googleOwnAccounts is its twin",
		"TestHostile_heartbeat":                                               "TestHostile_googleHeartbeat is its twin",
		"TestJudge_laboriousPolicy":                                           "TestJudge_googleBounds is its twin",
		"TestRecord_largestPolicyFits":                                        "TestGoogle_largestPolicyFits is its twin",
		"TestReplica_sharesTheMaterial":                                       "a key of Google Cloud has no replica",
		"TestOwn_aDeploymentIsOneAlert":                                       "deployments by CloudFormation",
		"TestTheHeartbeatIsOneLineInTheLogAndNothingElse":                     "TestGoogle_heartbeatIsALabel is its twin",
		"TestHeartbeat_late":                                                  none,
		"TestHeartbeat_withoutTheLedger":                                      none,
		"TestHeartbeat_isInTheLedger":                                         none,
		"TestWhatIsNotTheHeartbeatIsJudgedAsEver":                             "TestHostile_googleHeartbeat is its twin",
		"TestNoted_theDocumentBefore":                                         "TestJudge_googleOldNote is its twin",
		"TestJudge_noGainIsProvenByASpelling":                                 "spellings of AWS's policies",
		"TestReview_oneIncidentIsReportedOnce":                                "changes whose document is not in the event are AWS's alone",
		"TestReview_failures":                                                 "changes whose document is not in the event are AWS's alone",
		"TestResolve_whatCannotBeToldIsNoGoodRead":                            "TestBoth_unreadIsNoGoodRead is its twin",
		"TestTick_hangingReadKeepsNoOtherWaiting":                             "TestGoogle_documentThatHangs is its twin",
		"TestResolve_incidentOfAFormerName":                                   "a name of an earlier release, which had AWS alone",
		"TestOneBadIncidentDoesNotHoldUpTheOthers":                            "TestGoogle_incidentWithoutTheOrganization is its twin",
		"TestLostAccessIsWellAgainOnlyWhenThePoliciesSaySo":                   "TestSimulatedGoogle_lossAndRecovery is its twin",
		"TestAKeyStoreIsWellAgainWhenItIsConnected":                           "TestGoogle_eachThingOfAProjectHasItsIncident is its twin",
		"TestIncidentWithAShortenedListIsNotReadAsRecovered":                  none,
	})
}
