variable "project" {
  description = "Project of the topics and subscriptions."
  type        = string
}

variable "name" {
  description = "Name of the deployment. All topics and subscriptions begin with it."
  type        = string
}

variable "channels" {
  description = "Names of the channels. The function notify-CHANNEL takes the alerts of both topics."
  type        = set(string)
}

variable "feed" {
  description = "Whether there is a topic for the messages of Cloud Asset Inventory."
  type        = bool
  default     = false
}

variable "endpoints" {
  description = "Where messages are pushed, by function: rotation, alerting, and notify-CHANNEL of each channel."
  type        = map(string)
}

variable "account" {
  description = "E-mail address of the service account that pushes are signed as; null leaves them unsigned, for an emulator."
  type        = string
  nullable    = true
}

variable "labels" {
  description = "Labels of topics and subscriptions."
  type        = map(string)
  default     = {}
}

variable "timeout_seconds" {
  description = "Time limit of the functions. A push that takes longer is delivered again."
  type        = number
  default     = 60
}
