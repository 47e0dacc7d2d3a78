//! Whole fleets on real HAProxy, in network namespaces that the tests make and remove.
