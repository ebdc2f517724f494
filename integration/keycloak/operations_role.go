package keycloak

import "fmt"

func (s *Story) roles() []Operation {
	ops := []Operation{
		{Name: "a role is created", Events: "role.created operator", Do: s.created("roles", role{Name: "operator"}, "roles/operator", "id", "operator")},
		{Name: "a second role is created", Events: "role.created viewer", Do: s.created("roles", role{Name: "viewer"}, "roles/viewer", "id", "viewer")},
		{Name: "the role gets a description", Events: "role.updated operator", Do: s.edit("roles-by-id/{operator}", change{"description": "Operates"})},
		{Name: "the role is saved unchanged", Do: s.save("roles-by-id/{operator}")},
		{Name: "the role gets attributes", Events: "role.updated operator", Do: s.edit("roles-by-id/{operator}", change{"attributes": change{"level": []string{"1"}, "area": []string{"a", "b"}}})},
		{Name: "the role gets a composite", Events: "role.permission.updated operator", Do: s.post("roles-by-id/{operator}/composites", s.roleList("viewer"))},
		{Name: "the role loses the composite", Events: "role.permission.updated operator", Do: s.deleteOf("roles-by-id/{operator}/composites", s.roleList("viewer"))},
	}
	var names []string
	var create []act
	for n := range 12 {
		name := fmt.Sprintf("part-%d", n)
		names = append(names, name)
		create = append(create, s.created("roles", role{Name: name}, "roles/"+name, "id", name))
	}
	return append(ops,
		Operation{Name: "twelve roles are created", Events: "role.created ×12", Do: all(create...)},
		Operation{Name: "the role gets twelve composites at once", Events: "role.permission.updated operator", Do: s.post("roles-by-id/{operator}/composites", s.roleList(names...))},
		Operation{Name: "a role becomes a default role", Events: "role.permission.updated default", Do: all(
			s.named("roles/default-roles-acme", "id", "default"), s.post("roles-by-id/{default}/composites", s.roleList("viewer")))},
	)
}
