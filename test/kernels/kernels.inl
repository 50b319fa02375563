#include "../../native/products.inl"
#include "../../native/attention.inl"
