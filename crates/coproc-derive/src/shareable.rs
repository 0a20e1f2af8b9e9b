//! `#[derive(Shareable)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Result, Type};

use crate::input;

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(_) => {
            return Err(Error::new_spanned(
                name,
                format!(
                    "`Shareable` cannot be derived for an enum, whose variant other processes could change while it is in use. \
                     Derive `Code` for it and share a `Mutex<Code<{name}>>`; send an enum with fields through a queue (`Item`)"
                ),
            ));
        }
        Data::Union(_) => {
            return Err(Error::new_spanned(
                name,
                "`Shareable` cannot be derived for a union: nobody can tell which field is in use",
            ));
        }
    };
    input::no_lifetimes(&input.generics)?;
    input::require_c(&input, "Shareable", true)?;
    let names = input::names(&input)?;

    let fields = input::fields(&data.fields);
    let (plain, direct) = (quote!(#names::Plain), quote!(#names::DirectField));
    let generics =
        input::bounded(&input, fields.iter().map(|field| (field.ty, if is_marker(field.ty) { &plain } else { &direct })));
    let layouts = fields.iter().map(|field| {
        let (member, label, ty) = (&field.member, &field.label, field.ty);
        let layout = if is_marker(ty) {
            let other = "a field of a type called `PhantomData` has no bytes";
            quote_spanned!(input::at(ty)=> { ::core::assert!(::core::mem::size_of::<#ty>() == 0, #other); #names::plain_layout::<#ty>() })
        } else {
            quote_spanned!(input::at(ty)=> #names::direct_layout::<#ty>())
        };
        quote!(.field(#label, ::core::mem::offset_of!(Self, #member), #layout))
    });
    // Each use of a field begins with the same question, `direct_layout`, so that the compiler reports a wrong field once: what
    // follows at the same place is implied, and an error that was already printed word for word is not printed again.
    let direct = || fields.iter().filter(|field| !is_marker(field.ty));
    let leaves = direct().map(|field| {
        let ty = field.ty;
        quote_spanned!(input::at(ty)=> { #names::direct_layout::<#ty>(); <#ty as #names::Shareable>::LEAVES })
    });
    let last = quote!(last);
    let leave = direct().map(|field| {
        let (member, ty) = (&field.member, field.ty);
        let value = quote!(&self.#member);
        quote_spanned!(input::at(ty)=> #names::direct_layout::<#ty>(); <#ty as #names::Shareable>::leave(#value, #last);)
    });
    let drops = format!("`{name}` or a field of it has a `Drop`, which never runs for a value in shared memory: remove it");
    let assertion = quote_spanned!(input::at(name)=> ::core::assert!(!::core::mem::needs_drop::<Self>(), #drops););
    let (impl_generics, ty_generics, clause) = generics.split_for_impl();
    let force = input.generics.params.is_empty().then(|| quote!(const _: u64 = #names::direct_layout::<#name>();));

    Ok(quote! {
        // SAFETY:
        // 1, 2, 5: Each field is concurrent data (`direct_layout`) or has no bytes, and nothing else is done with the value; dropping it does
        // nothing (the assertion).
        // 3: The hash is made from the size, and each field's name, offset and layout.
        #[automatically_derived]
        unsafe impl #impl_generics #names::Shareable for #name #ty_generics #clause {
            type Access = #names::Direct;
            const LAYOUT: u64 = {
                #assertion
                #names::Layout::of::<Self>("struct") #(#layouts)* .hash()
            };
            const LEAVES: bool = false #(|| #leaves)*;

            fn leave(&self, #last: &#names::LastHandle) {
                let _ = #last;
                #(#leave)*
            }
        }
        #force
    })
}

/// Whether the type calls itself `PhantomData`, the one plain type that need not be under a lock. The generated code asserts that
/// it has no bytes, since the name proves nothing.
fn is_marker(ty: &Type) -> bool {
    matches!(ty, Type::Path(ty) if ty.path.segments.last().is_some_and(|last| last.ident == "PhantomData"))
}
