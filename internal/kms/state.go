package kms

import "strongroom/internal/fault"

// State is a key's state; its values are the API's.
type State string

// The states. Enabled and Disabled change into each other; both change to PendingDeletion, which ends in destruction or,
// when cancelled, in Disabled.
const (
	Enabled         State = "Enabled"
	Disabled        State = "Disabled"
	PendingDeletion State = "PendingDeletion"
)

// need is what an operation asks of the key's state.
type need int

const (
	toRead   need = iota // describe, policies, listing, retiring and revoking grants, deleting aliases: any state
	toUse                // cryptography, creating grants, changing rotation: enabled
	toManage             // enable, disable, schedule deletion, tags, aliases, description: not pending deletion
	toCancel             // cancel a deletion: pending deletion
)

// allows returns nil or the fault that the operation ends with in the key's state.
func (k Key) allows(n need) error {
	name := k.ARN()
	switch {
	case n == toRead, k.State == Enabled && n != toCancel, k.State == Disabled && n == toManage, k.State == PendingDeletion && n == toCancel:
		return nil
	case n == toCancel:
		return fault.New(fault.State, "%s is not pending deletion.", name).WithCode(CodeInvalidState).WithResource(name)
	case k.State == Disabled:
		return fault.New(fault.State, "%s is disabled.", name).WithCode(CodeDisabled).WithResource(name)
	default:
		return fault.New(fault.State, "%s is pending deletion.", name).WithCode(CodeInvalidState).WithResource(name)
	}
}
